"""Whether an ablation's clips are there, looked for before hours of training."""

from __future__ import annotations

from collections.abc import Sequence

from synhead.app.ablation.plan import Request, Task
from synhead.config import ConfigError
from synhead.data.clips import open_clips
from synhead.data.shards import is_shard_pattern


def require_clips(request: Request, tasks: Sequence[Task]) -> None:
    """Look for what the tasks will read: clips (remote ones are believed), and held-out clips apart from those.

    Training alone would take a folder without splits whole, held-out clips among the others; shards that are named
    directly are taken whole whatever the split. Raises DataError, or ConfigError where nothing is held out.
    """
    actions = {stage.action for stage in (task.stage() for task in tasks) if stage is not None}
    if request.val is None and is_shard_pattern(request.data):
        raise ConfigError(f"{request.data}: shards have no splits, name held-out clips with --val")
    if "train" in actions and "://" not in request.data:  # else all of them would be downloaded
        open_clips(request.data, "train")
    if actions:
        open_clips(request.val or request.data, "val")
