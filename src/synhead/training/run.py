"""What a run is made of and what it tells the outside: the nouns of loop.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synhead.config import UserError
from synhead.data.pairs import PairSource
from synhead.losses.config import LossConfig
from synhead.training.checkpoint import CheckpointFolder
from synhead.training.config import TrainingConfig
from synhead.training.restarts import CodeRestarts
from synhead.training.step import Steps
from synhead.training.tracking import Trackers
from synhead.training.validation import ValidationPairs, ValidationReport

StopReason = Literal["finished", "stopped"]


class NonFiniteError(UserError, RuntimeError):
    """A loss became NaN or infinite; the message names the iteration and the last good checkpoint."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress display shows. ``terms``: loss terms by name, means over the last window."""

    iteration: int
    iterations: int
    samples_per_second: float
    seconds_left: float
    terms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run, or a leg of it, ended."""

    reason: StopReason
    iteration: int
    checkpoint: Path
    validation: ValidationReport | None


def never() -> bool:
    """No request to stop."""
    return False


def silent(progress: Progress) -> None:
    """No display."""
    del progress


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a run needs, built outside and handed in.

    ``folder``: where the best weights go. ``stop``: asked every ``every.check`` iterations, for signals and the end of
    the leg. ``report``: called every ``every.log`` iterations on process 0. ``begun``: what this start wrote into a
    folder that held no run, the configuration last.
    """

    config: TrainingConfig
    losses: LossConfig
    steps: Steps
    restarts: CodeRestarts
    pairs: PairSource
    folder: Path
    checkpoints: CheckpointFolder
    trackers: Trackers
    validation: ValidationPairs | None = None
    stop: Callable[[], bool] = never
    report: Callable[[Progress], None] = silent
    begun: tuple[str, ...] = ()
