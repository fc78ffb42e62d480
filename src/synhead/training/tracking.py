"""Where a run's figures go: a JSONL file always, TensorBoard and Weights & Biases when asked for."""

from __future__ import annotations

import glob
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from synhead.config import ConfigError
from synhead.data.files import replacing

CURVES_FILE = "metrics.jsonl"
TrackerName = Literal["tensorboard", "wandb"]
Scalars = Mapping[str, float]
Image = UInt8[Tensor, "3 h w"]


@runtime_checkable
class Tracker(Protocol):
    """A sink for figures; called by process 0 only."""

    def scalars(self, iteration: int, values: Scalars) -> None:
        """Named figures of one iteration."""

    def image(self, iteration: int, name: str, image: Image) -> None:
        """One picture."""

    def close(self) -> None:
        """Flush and release."""


class JsonlTracker:
    """``metrics.jsonl``: one object a line, with ``iteration``. On resume, later lines are dropped."""

    def __init__(self, path: Path, *, after: int = 0) -> None:
        kept = _lines_up_to(path, after) if path.is_file() else []
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def scalars(self, iteration: int, values: Scalars) -> None:
        """Non-finite values are written as null: JSON has no NaN."""
        safe = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"iteration": iteration, **safe}) + "\n")

    def image(self, iteration: int, name: str, image: Image) -> None:
        """Not kept."""
        del iteration, name, image

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardTracker:
    """Event files under the run's folder. Raises ConfigError if tensorboard is not installed."""

    def __init__(self, folder: Path, *, after: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (optional)
        except ImportError as error:
            raise ConfigError("TensorBoard is not installed: pip install 'synhead[train]', or leave it off") from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=after + 1 if after else None)

    def scalars(self, iteration: int, values: Scalars) -> None:
        """One curve a name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)

    def image(self, iteration: int, name: str, image: Image) -> None:
        """One picture."""
        self._writer.add_image(name, image.numpy(), iteration)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandbTracker:
    """A Weights & Biases run, of the folder's name; the id by which it is resumed is kept in the folder.

    Raises ConfigError if wandb is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import wandb  # noqa: PLC0415  (optional)
        except ImportError as error:
            raise ConfigError("Weights & Biases is not installed: pip install wandb, or leave it off") from error
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project="synhead", name=folder.name, id=_wandb_id(folder), dir=str(folder), resume="allow"
        )

    def scalars(self, iteration: int, values: Scalars) -> None:
        """One curve a name."""
        self._run.log(dict(values), step=iteration)

    def image(self, iteration: int, name: str, image: Image) -> None:
        """One picture."""
        self._run.log({name: self._wandb.Image(image.permute(1, 2, 0).numpy())}, step=iteration)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class Trackers:
    """Several trackers as one; none on processes other than 0."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)

    @property
    def active(self) -> bool:
        """Whether anything listens: pictures need not be made otherwise."""
        return bool(self._trackers)

    def scalars(self, iteration: int, values: Scalars) -> None:
        """To all."""
        for tracker in self._trackers:
            tracker.scalars(iteration, values)

    def image(self, iteration: int, name: str, image: Image) -> None:
        """To all."""
        for tracker in self._trackers:
            tracker.image(iteration, name, image)

    def close(self) -> None:
        """Close all."""
        for tracker in self._trackers:
            tracker.close()


def open_trackers(folder: Path, names: Sequence[TrackerName], *, after: int = 0) -> Trackers:
    """The JSONL file and the named trackers of a run; ``after``: iteration from which the run goes on.

    Raises ConfigError for a tracker that is not installed; the file, opened last, is as it was then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trackers: list[Tracker] = []
    if "tensorboard" in names:
        trackers.append(TensorBoardTracker(folder / "tensorboard", after=after))
    if "wandb" in names:
        trackers.append(WandbTracker(folder))
    return Trackers([*trackers, JsonlTracker(folder / CURVES_FILE, after=after)])


def _wandb_id(folder: Path) -> str:
    """No other run's, for W&B would go on with that one; where a run began under its mere name, that name."""
    path = folder / "wandb-id"
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    began_by_name = any((folder / "wandb").glob(f"run-*-{glob.escape(folder.name)}"))
    found = folder.name if began_by_name else uuid.uuid4().hex
    with replacing(path) as temporary:
        temporary.write_text(found + "\n", encoding="utf-8")
    return found


def _lines_up_to(path: Path, iteration: int) -> list[str]:
    """Whole lines not later than an iteration; a line that a kill cut short is dropped."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["iteration"] <= iteration:
            kept.append(line)
    return kept
