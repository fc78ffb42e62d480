"""Image metrics of 8-bit RGB pictures, one value a pair; averaging is the caller's."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from synhead.types import NDArray

__all__ = ["IDENTICAL_DB", "l1", "psnr_db", "ssim"]

Picture = UInt8[NDArray[np.uint8], "h w 3"]

IDENTICAL_DB = 100.0
"""PSNR of identical pictures, where the formula gives infinity; other 8-bit pictures are capped at it too."""

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr_db(first: Picture, second: Picture) -> float:
    """``20 log10(255 / sqrt(mse))`` over all pixels and channels (not luminance), at most IDENTICAL_DB."""
    mean_square = float(np.mean(np.square(_difference(first, second))))
    if mean_square == 0:
        return IDENTICAL_DB
    return min(IDENTICAL_DB, 20 * math.log10(255 / math.sqrt(mean_square)))


def l1(first: Picture, second: Picture) -> float:
    """Mean absolute difference over all pixels and channels, of values in [0, 1]."""
    return float(np.mean(np.abs(_difference(first, second)))) / 255


def ssim(first: Picture, second: Picture) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window of 11 with sigma 1.5, channels apart, valid area only.

    Pictures must be at least 11 pixels wide and high.
    """
    a, b = _channels(first), _channels(second)
    mean_a, mean_b, square_a, square_b, product = _blur(np.stack([a, b, a * a, b * b, a * b]))
    variance_a, variance_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return float((luminance * structure).mean())


def _difference(first: Picture, second: Picture) -> Float[NDArray[Any], "h w 3"]:
    return first.astype(np.float64) - second.astype(np.float64)


def _channels(picture: Picture) -> Float[NDArray[Any], "3 h w"]:
    return picture.transpose(2, 0, 1).astype(np.float64, order="C")


def _blur(images: Float[NDArray[Any], "n 3 h w"]) -> Float[NDArray[Any], "n 3 u v"]:
    """Both passes of the separable window as products with band matrices, much faster than convolving."""
    height, width = images.shape[2:]
    return np.asarray(_band(height) @ images @ _band(width).T)


@lru_cache(maxsize=8)
def _band(size: int) -> Float[NDArray[Any], "u {size}"]:
    offset = np.arange(_WINDOW) - _WINDOW // 2
    weight = np.exp(-(offset**2) / (2 * _SIGMA**2))
    band = np.zeros((size - _WINDOW + 1, size))
    for row in range(len(band)):
        band[row, row : row + _WINDOW] = weight / weight.sum()
    return band
