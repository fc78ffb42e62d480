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

_log = logging.getLogger(__name__)

Frames = UInt8[NDArray[np.uint8], "n h w 3"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One clip's test. ``indices``: of the driving frames in the clip; its frame 0 is the source.

    ``reference``: across identities, the driver's frame whose pose is taken to be the source's. ``clip_frames``: of
    the whole clip, where the driving frames are a sample of it. ``person``: of the source; None: not known.
    """

    name: str
    source: UInt8[NDArray[np.uint8], "h w 3"]
    driving: Frames
    indices: tuple[int, ...]
    reference: UInt8[NDArray[np.uint8], "h w 3"] | None = None
    clip_frames: int | None = None
    person: str | None = None

    @property
    def same_identity(self) -> bool:
        """Whether the driving frames are what a perfect result would be."""
        return self.reference is None


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
        trials.append(Trial(clip.name, frames[0].copy(), frames[list(indices)], indices, person=clip.person))
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

    Clip i is driven by another person's clip, see :func:`paired_indices`, relative to that clip's first frame. There
    are at most as many pairs as clips, none where all show one person.
    """
    people = [trial.person or trial.name for trial in trials]
    chosen = [(trials[i], trials[j]) for i, j in paired_indices(people, pairs)]
    return tuple(Trial(f"{a.name}>{b.name}", a.source, b.driving, b.indices, reference=b.source) for a, b in chosen)


def paired_indices(people: Sequence[str], count: int) -> tuple[tuple[int, int], ...]:
    """``count`` evenly spaced clips, each with the first clip of somebody else from half a set further on; clips of
    which there is nobody else to drive are left out. ``people``: who each clip shows.
    """
    total, pairs = len(people), []
    for start in sorted({int(start) for start in np.linspace(0, total - 1, min(count, total))}):
        further = ((start + total // 2 + step) % total for step in range(total))
        other = next((index for index in further if people[index] != people[start]), None)
        if other is not None:
            pairs.append((start, other))
    return tuple(pairs)
