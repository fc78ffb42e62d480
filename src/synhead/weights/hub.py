"""Finding a checkpoint: a local directory, or a repository on a model hub pinned to a revision."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from synhead.weights.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from synhead.weights.errors import CheckpointError

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(#sha256=(?P<sha256>[0-9a-f]{64}))?")


def resolve(path_or_id: str | Path) -> Path:
    """A checkpoint directory for a local path or a hub id ``owner/name[@revision][#sha256=HEX]``.

    A hub id is downloaded through huggingface_hub (cached by content hash); ``sha256`` is that of model.safetensors and
    is checked after the download. Raises CheckpointError with the remedy.
    """
    path = Path(path_or_id)
    if path.exists():
        return path
    match = _HUB_ID.fullmatch(str(path_or_id))
    if match is None or str(path_or_id).startswith((".", "/", "~")):
        raise CheckpointError(
            f"no checkpoint at {path_or_id}: give a checkpoint directory or a hub id owner/name@revision"
        )
    folder = _download(match["repo"], match["revision"])
    if match["sha256"]:
        verify_sha256(folder / WEIGHTS_FILE, match["sha256"])
    return folder


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only when a hub is asked for
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=[WEIGHTS_FILE, CONFIG_FILE]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"no local directory {repo}, and the hub has not given it ({reason}): "
            f"check the name and the connection, or download {WEIGHTS_FILE} and {CONFIG_FILE} into a directory"
        ) from error


def verify_sha256(path: Path, expected: str) -> None:
    """Raise CheckpointError unless the file has the SHA-256 ``expected`` (lower-case hexadecimal)."""
    found = file_sha256(path)
    if found != expected:
        raise CheckpointError(f"{path} has SHA-256 {found} instead of {expected}: download it again")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
