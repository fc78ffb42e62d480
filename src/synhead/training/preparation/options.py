"""What is asked of the preparation, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synhead.config import ConfigError, UserError

Cause = Literal["unreadable", "no face", "too short", "face too small", "blurred", "duplicate"]
"""Why something was left out, in a word or two; the reason says it with figures."""


class PrepareError(UserError, ValueError):
    """Nothing can be prepared; the message is one line and names the remedy."""


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How face clips are cut.

    ``size``: of the clips, pixels. ``min_face_px``: height of a face in the original, hairline to chin.
    ``min_seconds``: shorter tracks are dropped; longer ones than ``max_seconds`` are cut evenly.
    ``max_rate``: frames a second at most; faster videos lose frames.
    ``detect_every``: frames from one detection to the next.
    ``min_overlap``: of a face box with the first one of its track (intersection over union).
    ``min_sharpness``: variance of the Laplacian of the clip.
    ``scene_cut``: mean difference of successive small pictures, in [0, 1], that counts as a cut.
    ``duplicate_bits``: clips whose perceptual hashes differ by no more bits are the same.
    ``person``: what tells persons apart for sampling, the video file (by name and content) or the folder it lies in.
    ``validation_share``: of the persons, chosen by a hash of their names.
    """

    size: Literal[256, 512] = 256
    min_face_px: int = 96
    min_seconds: float = 2.0
    max_seconds: float = 8.0
    max_rate: float = 25.0
    detect_every: int = 5
    min_overlap: float = 0.25
    min_sharpness: float = 20.0
    scene_cut: float = 0.12
    duplicate_bits: int = 6
    person: Literal["file", "folder"] = "file"
    validation_share: float = 0.0
    crf: int = 18
    workers: int = 2

    def __post_init__(self) -> None:
        if self.size not in (256, 512):
            raise ConfigError(f"size {self.size} is not 256 or 512")
        if not 0 < self.min_seconds <= self.max_seconds:
            raise ConfigError("min_seconds must be positive and at most max_seconds")
        if self.detect_every < 1 or self.workers < 1 or not self.max_rate > 0:
            raise ConfigError("detect_every, workers and max_rate must be positive")
        if not 0 <= self.validation_share < 1:
            raise ConfigError("validation_share must be in [0, 1)")


@dataclass(frozen=True, slots=True)
class Rejected:
    """What was left out and why. ``span_s``: from and to in seconds, None for a whole input."""

    source: str
    cause: Cause
    reason: str
    span_s: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class PrepareProgress:
    """So far: inputs finished out of ``total``, clips and rejections of this run. ``source``: finished last."""

    done: int
    total: int
    clips: int
    rejected: int
    source: str


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """Outcome of a run. ``resumed``: inputs that an earlier run had finished, whose clips are counted in ``clips``.

    ``held_out``: clips of the validation split.
    """

    inputs: int
    resumed: int
    clips: int
    held_out: int
    rejected: tuple[Rejected, ...]
    seconds: float
