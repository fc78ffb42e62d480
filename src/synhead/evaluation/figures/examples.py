"""Trials from a set of clips for figures: the held-out clips if there are any, never more than a few hundred."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from synhead.data.clips import Clip, DataError, open_clips
from synhead.evaluation.trials import Trial, readable_trials

log = logging.getLogger(__name__)

MAX_CLIPS = 200


def held_out_trials(data: str, size: int, *, most: int = MAX_CLIPS) -> tuple[Trial, ...]:
    """At most ``most`` clips, evenly from the ``val`` split, or from ``train`` if there is no other.

    Raises DataError if no clip can be read.
    """
    try:
        clips = open_clips(data, "val").clips
    except DataError:
        log.warning("%s has no held-out clips: figures show training clips", data)
        clips = open_clips(data, "train").clips
    return readable_trials(data, _spread_clips(clips, most), size=size)


def spread(trials: Sequence[Trial], count: int) -> tuple[Trial, ...]:
    """``count`` of the trials, evenly."""
    return tuple(trials[i] for i in _places(len(trials), count))


def _spread_clips(clips: Sequence[Clip], count: int) -> tuple[Clip, ...]:
    return tuple(clips[i] for i in _places(len(clips), count))


def _places(total: int, count: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, total - 1, min(total, count))})
