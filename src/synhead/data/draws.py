"""Counter-based randomness: every number is a pure function of (seed, sample, column).

So a training stream can be resumed at any sample and split over any number of ranks without carrying a generator
state, and a batch costs a few vector operations.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from jaxtyping import Float64, UInt64

from synhead.types import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_MANTISSA_SHIFT = np.uint64(11)

Uniforms = Float64[NDArray[np.float64], "b draws"]


class Draw(IntEnum):
    """Column of :func:`uniforms` that decides what. Append only: the order is part of every saved run."""

    CLIP = 0
    FIRST_FRAME = 1
    SECOND_FRAME = 2
    FAR = 3
    FLIP = 4
    SWAP = 5
    COLOUR = 6
    BRIGHTNESS = 7
    CONTRAST = 8
    SATURATION = 9
    HUE = 10
    CROP = 11
    SCALE = 12
    SHIFT_X = 13
    SHIFT_Y = 14
    ROTATION = 15


def _mix(state: UInt64[NDArray[np.uint64], "*shape"]) -> UInt64[NDArray[np.uint64], "*shape"]:
    """Finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    state = (state ^ (state >> _SHIFTS[0])) * _FACTORS[0]
    state = (state ^ (state >> _SHIFTS[1])) * _FACTORS[1]
    return state ^ (state >> _SHIFTS[2])


def uniforms(seed: int, index: UInt64[NDArray[np.uint64], " b"], *, attempt: int = 0) -> Uniforms:
    """Uniform numbers in [0, 1) for the samples ``index``, one column for each :class:`Draw`.

    ``attempt``: another, independent row for the same sample (when its first choice could not be decoded).
    """
    key = _mix(np.array([seed % 2**64, attempt], dtype=np.uint64) + _GOLDEN)
    stream = _mix(_mix(index * _GOLDEN + key[0]) + key[1])
    columns = np.arange(1, len(Draw) + 1, dtype=np.uint64) * _GOLDEN
    bits = _mix(stream[:, None] + columns[None, :])
    return (bits >> _MANTISSA_SHIFT).astype(np.float64) * 2.0**-53


def sample_indices(start: int, batch: int, rank: int) -> UInt64[NDArray[np.uint64], " b"]:
    """Global numbers of the samples of ``rank`` in the global batch that begins at ``start``."""
    return np.arange(start + rank * batch, start + (rank + 1) * batch, dtype=np.uint64)
