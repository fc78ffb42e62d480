"""Which frames are compared: the first frame of a clip is the source, ten evenly spaced later ones drive it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from synhead.data.clips import Clip, open_clips
from synhead.data.decode import CLIP_ERRORS, decode_clip
from synhead.data.records import DataError, Skipped
from synhead.types import NDArray

__all__ = [
    "Trial",
    "cross_identity_trials",
    "driving_indices",
    "held_out",
    "paired_indices",
    "read_trials",
    "readable_trials",
]

_log = logging.getLogger(__name__)

Frames = UInt8[NDArray[np.uint8], "n h w 3"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One clip's test. ``indices``: of the driving frames in the clip; its frame 0 is the source.

    ``reference``: across identities, the driver's frame whose pose is taken to be the source's. ``clip_frames``: of
    the whole clip, where the driving frames are a sample of it.
    """

    name: str
    source: UInt8[NDArray[np.uint8], "h w 3"]
    driving: Frames
    indices: tuple[int, ...]
    reference: UInt8[NDArray[np.uint8], "h w 3"] | None = None
    clip_frames: int | None = None

    @property
    def same_identity(self) -> bool:
        """Whether the driving frames are what a perfect result would be."""
        return self.reference is None

    def frame_name(self, position: int) -> str:
        """``clip/index`` of a driving frame, to name it in a report."""
        return f"{self.name}/{self.indices[position]}"


def driving_indices(frames: int, count: int = 10) -> tuple[int, ...]:
    """``count`` frames from 1 to the last, evenly spaced and rounded down; fewer in clips that are too short."""
    return tuple(sorted({int(index) for index in np.linspace(1, frames - 1, count)}))


def read_trials(
    clips: Iterable[Clip], *, count: int = 10, size: int = 256
) -> tuple[tuple[Trial, ...], tuple[Skipped, ...]]:
    """Trials of all clips that can be read, in their order, and the clips that cannot."""
    trials: list[Trial] = []
    skipped: list[Skipped] = []
    for clip in clips:
        try:
            frames = decode_clip(clip, size)
        except CLIP_ERRORS as error:
            skipped.append(Skipped(clip.name, str(error)))
            continue
        indices = driving_indices(len(frames), count)
        trials.append(Trial(clip.name, frames[0].copy(), frames[list(indices)], indices))
    return tuple(trials), tuple(skipped)


def held_out(data: str, *, size: int) -> tuple[Trial, ...]:
    """Trials of the ``val`` split. Raises DataError if there is none, or no clip of it can be read."""
    return readable_trials(data, open_clips(data, "val").clips, size=size)


def readable_trials(data: str, clips: Iterable[Clip], *, size: int) -> tuple[Trial, ...]:
    """Trials of clips of ``data``; those that cannot be read are named in the log. Raises DataError if none can be."""
    trials, skipped = read_trials(clips, size=size)
    for skip in skipped:
        _log.warning("skipped clip %s: %s", skip.name, skip.reason)
    if not trials:
        raise DataError(f"{data}: no clip can be read ({skipped[0].reason}); make clips with `synhead prepare`")
    return trials


def cross_identity_trials(trials: Sequence[Trial], pairs: int = 12) -> tuple[Trial, ...]:
    """Source of one clip with the driving frames of another, named ``source>driver``; the same pairs every time.

    Clip i is driven by the clip half a set further on, relative to that clip's first frame. There are at
    most as many pairs as clips, none with one clip.
    """
    chosen = [(trials[i], trials[j]) for i, j in paired_indices(len(trials), pairs)]
    return tuple(Trial(f"{a.name}>{b.name}", a.source, b.driving, b.indices, reference=b.source) for a, b in chosen)


def paired_indices(total: int, count: int) -> tuple[tuple[int, int], ...]:
    """``count`` evenly spaced clips of ``total``, each with the one half a set further on; none of one clip."""
    if total < 2:
        return ()
    starts = sorted({int(start) for start in np.linspace(0, total - 1, min(count, total))})
    return tuple((start, (start + total // 2) % total) for start in starts)
