"""Cheap measures of pictures: scene cuts, sharpness, perceptual hashes. Pictures are uint8 RGB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from synhead.types import NDArray

Picture = UInt8[NDArray[np.uint8], "h w 3"]

_THUMBNAIL = (32, 18)
_SURGE = 4.0
_MEMORY = 0.9
_FACE_PX = 256


class SceneCuts:
    """Tells the first frame of a new scene: small pictures differ much, and much more than they have lately."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._last: Float[NDArray[Any], "18 32 3"] | None = None
        self._usual = 0.0

    def is_cut(self, image: Picture) -> bool:
        """Whether ``image`` begins a scene other than that of the picture given before; False for the first."""
        small = np.asarray(Image.fromarray(image).resize(_THUMBNAIL, Image.Resampling.BOX), np.float32) / 255
        last, self._last = self._last, small
        if last is None:
            return False
        change = float(np.abs(small - last).mean())
        cut = change > self._threshold and change > _SURGE * self._usual
        self._usual = 0.0 if cut else _MEMORY * self._usual + (1 - _MEMORY) * change
        return cut


def sharpness(image: Picture) -> float:
    """Variance of the Laplacian (4 neighbours) of the luminance at 256 pixels' width, in 8-bit levels squared."""
    grey = Image.fromarray(image).convert("L").resize((_FACE_PX, _FACE_PX), Image.Resampling.BILINEAR)
    p = np.asarray(grey, np.float32)
    laplacian = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1]
    return float(laplacian.var())


def perceptual_hash(image: Picture) -> int:
    """64 bits: whether each of 8 x 8 areas is brighter than its right neighbour (difference hash)."""
    small = np.asarray(Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = (small[:, :-1] > small[:, 1:]).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def hash_distance(first: Sequence[int], second: Sequence[int]) -> int:
    """The largest number of differing bits among corresponding hashes; 64 if there are not equally many."""
    if len(first) != len(second):
        return 64
    return max((bin(a ^ b).count("1") for a, b in zip(first, second, strict=True)), default=64)
