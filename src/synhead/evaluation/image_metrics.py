"""Image metrics of 8-bit RGB pictures, one value a pair; averaging is the caller's."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from einops import reduce
from jaxtyping import Float, UInt8

from synhead.losses.structure import MS_SSIM_EXPONENTS
from synhead.types import NDArray

Picture = UInt8[NDArray[np.uint8], "h w 3"]
Planes = Float[NDArray[Any], "3 _ _"]

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
    similarity, _ = _similarity(_channels(first), _channels(second))
    return float(similarity.mean())


def ms_ssim(first: Picture, second: Picture) -> float:
    """Multi-scale structural similarity (Wang et al. 2003): the contrasts of four scales and the SSIM of the fifth.

    As torchmetrics: valid area only, but reflected borders at the fifth scale; negative terms count as zero. Pictures
    must be at least 176 pixels wide and high.
    """
    a, b = _channels(first), _channels(second)
    product = 1.0
    for exponent in MS_SSIM_EXPONENTS[:-1]:
        _, contrast = _similarity(a, b)
        product *= max(0.0, float(contrast.mean())) ** exponent
        a, b = _halved(a), _halved(b)
    similarity, _ = _similarity(_bordered(a), _bordered(b))
    return float(product * max(0.0, float(similarity.mean())) ** MS_SSIM_EXPONENTS[-1])


def _similarity(a: Planes, b: Planes) -> tuple[Planes, Planes]:
    """SSIM, and its part of contrast and structure, at every place of the valid area."""
    mean_a, mean_b, square_a, square_b, product = _blur(np.stack([a, b, a * a, b * b, a * b]))
    variance_a, variance_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return luminance * structure, structure


def _halved(planes: Planes) -> Planes:
    """Means of squares of four pixels; an odd last row or column is dropped."""
    _, height, width = planes.shape
    even = planes[:, : height - height % 2, : width - width % 2]
    return np.asarray(reduce(even, "c (h 2) (w 2) -> c h w", "mean"))


def _bordered(planes: Planes) -> Planes:
    border = _WINDOW // 2
    return np.pad(planes, ((0, 0), (border, border), (border, border)), mode="reflect")


def _difference(first: Picture, second: Picture) -> Float[NDArray[Any], "h w 3"]:
    return first.astype(np.float64) - second.astype(np.float64)


def _channels(picture: Picture) -> Planes:
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
