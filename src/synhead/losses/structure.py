"""Structural image losses, not part of the published recipe: MS-SSIM and an L1 distance of Laplacian pyramids."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from synhead.geometry.precision import full_precision, upcast
from synhead.losses.filters import filter_image
from synhead.losses.image import mean

MS_SSIM_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_RADIUS = 5
_SIGMA = 1.5
_FLOOR = 1e-6  # of a contrast before a fractional power: its gradient is infinite at zero


def ms_ssim(
    image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], *, data_range: float = 2.0
) -> Float[Tensor, " b"]:
    """Multi-scale structural similarity of each image (Wang 2003), 1 for equal ones.

    Gaussian window of 11 pixels, sigma 1.5, reflection padding; the contrast of all scales but the coarsest counts
    inside the borders only, as in torchmetrics. Scales whose side would fall under 11 pixels are left out (images
    under 176 pixels) and the exponents of the others rescaled to the same sum. Negative contrasts count as zero.
    """
    side = min(image.shape[-2:])
    exponents = [beta for level, beta in enumerate(MS_SSIM_EXPONENTS) if side // 2**level > 2 * _RADIUS]
    if not exponents:
        raise ValueError(f"ms_ssim needs images of at least {2 * _RADIUS + 1} pixels, not {side}")
    similarity = torch.ones(image.shape[0], device=image.device)
    with full_precision(image):
        image, target = upcast(image), upcast(target)
        for level, beta in enumerate(exponents):
            if level:
                image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
            whole, contrast = _ssim(image, target, data_range)
            value = whole if level == len(exponents) - 1 else contrast
            similarity = similarity * value.clamp_min(_FLOOR) ** (beta * sum(MS_SSIM_EXPONENTS) / sum(exponents))
    return similarity


def ms_ssim_loss(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """1 - E[MS-SSIM] of images in [-1, 1]."""
    return 1 - mean(ms_ssim(image, target))


def laplacian_loss(
    image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], *, levels: int = 4
) -> Float[Tensor, ""]:
    """Sum over levels of E[|L_j(I_g) - L_j(I_d)|] (Bojanowski 2018), the last level being the low-pass rest.

    The pyramid is linear, so that of the difference is taken. Levels stop before a side under 2 pixels.
    """
    with full_precision(image):
        rest = upcast(image) - upcast(target)
        total = torch.zeros((), device=rest.device, dtype=rest.dtype)
        for _ in range(levels):
            if min(rest.shape[-2:]) < 4:
                break
            low = filter_image(rest, _gaussian(2, 1.0), stride=2, reflect=True)
            total = total + mean((rest - F.interpolate(low, size=rest.shape[-2:], mode="bilinear")).abs())
            rest = low
        return total + mean(rest.abs())


def _ssim(
    image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], data_range: float
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Mean SSIM, and mean contrast-structure inside the borders, of each image."""
    stacked = torch.cat([image, target, image.square(), target.square(), image * target])
    mean_x, mean_y, square_x, square_y, product = filter_image(stacked, _gaussian(_RADIUS, _SIGMA), reflect=True).chunk(
        5
    )
    variance = (square_x - mean_x.square()).clamp_min(0) + (square_y - mean_y.square()).clamp_min(0)
    covariance = product - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    contrast = (2 * covariance + c2) / (variance + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    inner = contrast[..., _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    return (luminance * contrast).mean(dim=(1, 2, 3)), inner.mean(dim=(1, 2, 3))


@cache
def _gaussian(radius: int, sigma: float) -> tuple[float, ...]:
    """Normalised weights of 2 * radius + 1 pixels."""
    weights = [math.exp(-(t**2) / (2 * sigma**2)) for t in range(-radius, radius + 1)]
    return tuple(weight / sum(weights) for weight in weights)
