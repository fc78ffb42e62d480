"""Resizing, warping and occluding feature maps (spec B.5). Bilinear, ``align_corners=True``, zeros outside."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from synhead.geometry.precision import HALF, full_precision
from synhead.geometry.triton_there import takes_kernels

_BY_PIXEL, _WIDE = 4, 16  # channels from which the layout matters, and from which PyTorch minds it


def resize(image: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c {size} {size}"]:
    """Bilinear resize to a square with aligned corners; the same tensor if it already has that size."""
    if image.shape[-2:] == (size, size):
        return image
    if _trains_half(image) and image.shape[2] == image.shape[3] > 1:
        from synhead.geometry.fused_resize import FusedResize  # noqa: PLC0415 - Triton exists on GPU builds only

        out: Tensor = FusedResize.apply(image, size)  # type: ignore[no-untyped-call]
        return out
    if image.device.type == "cuda" and image.shape[1] >= _BY_PIXEL:
        image = image.contiguous(memory_format=torch.channels_last)  # else a thread makes all channels of its pixel
        if image.shape[1] < _WIDE and torch.is_grad_enabled():  # nor does a narrower one get the kernel for that layout
            filled = F.pad(image, (0, 0, 0, 0, 0, _WIDE - image.shape[1]))
            return resize(filled, size)[:, : image.shape[1]]
    # Autocast would convert to float32 and back; sums are float32 either way, but those of half a gradient are not.
    with nullcontext() if torch.is_grad_enabled() else full_precision(image):
        return F.interpolate(image, size=(size, size), mode="bilinear", align_corners=True)


def resize_grid(grid: Float[Tensor, "b h w 2"], size: int) -> Float[Tensor, "b {size} {size} 2"]:
    """A sampling grid resized as a two-channel image."""
    if grid.shape[1:3] == (size, size):
        return grid
    return rearrange(resize(rearrange(grid, "b h w xy -> b xy h w"), size), "b xy h w -> b h w xy")


Outside = Literal["zeros", "border"]


def sample(
    feature: Float[Tensor, "b c h w"],
    grid: Float[Tensor, "b u v 2"],
    *,
    align_corners: bool = True,
    outside: Outside = "zeros",
) -> Float[Tensor, "b c u v"]:
    """``grid_sample``. Sampled in the grid's precision, given back in the feature's."""
    if align_corners and outside == "zeros" and _trains_fused(feature, grid):
        return _fused_sample(feature, grid, None)
    sampled = F.grid_sample(feature.to(grid.dtype), grid, padding_mode=outside, align_corners=align_corners)
    return sampled.to(feature.dtype)


def warp(
    feature: Float[Tensor, "b c s s"], grid: Float[Tensor, "b h w 2"], *, outside: Outside = "zeros"
) -> Float[Tensor, "b c s s"]:
    """Backward warp of a feature by a flow of any size, resized to the feature first."""
    if outside == "zeros" and fusible(feature):
        from synhead.geometry.fused_warp import fused_warp  # noqa: PLC0415 - Triton exists on GPU builds only

        return fused_warp(feature, grid)
    return sample(feature, resize_grid(grid, feature.shape[-1]), outside=outside)


def occlude(feature: Float[Tensor, "b c s s"], visibility: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c s s"]:
    """Multiply by the visibility, resized to the feature first."""
    return feature * resize(visibility, feature.shape[-1]).to(feature.dtype)


def warp_occluded(
    feature: Float[Tensor, "b c s s"], grid: Float[Tensor, "b h w 2"], visibility: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b c s s"]:
    """``occlude(warp(feature, grid), visibility)``."""
    if fusible(feature) and grid.shape[1:3] == visibility.shape[2:]:
        from synhead.geometry.fused_warp import fused_warp  # noqa: PLC0415

        return fused_warp(feature, grid, visibility)
    if _trains_fused(feature, grid):
        size = feature.shape[-1]
        return _fused_sample(feature, resize_grid(grid, size), resize(visibility, size))
    return occlude(warp(feature, grid), visibility)


def warp_taps(
    feature: Float[Tensor, "b c s s"], grid: Float[Tensor, "b h w 2"], target: int
) -> Float[Tensor, "b c t2 t2"]:
    """``warp`` at the pixels alone that an aligned-corners resize to ``target`` reads: see :func:`merge_taps`."""
    side = feature.shape[-1]
    if fusible(feature):
        from synhead.geometry.fused_warp import fused_warp  # noqa: PLC0415

        return fused_warp(feature, grid, index=taps(side, target, grid)[0])
    return sample(feature, tap_grid(grid, side, target))


def fusible(feature: Tensor) -> bool:
    """Whether the fused kernel serves: a GPU, half precision, no gradients, no compiler at work."""
    return feature.dtype in HALF and not torch.is_grad_enabled() and takes_kernels(feature.device)


def _trains_fused(feature: Tensor, grid: Tensor) -> bool:
    """Whether the kernel with gradients serves: the feature is square, the flow float32."""
    square = feature.shape[2] == feature.shape[3] and feature.shape[0] == grid.shape[0]
    return square and grid.dtype == torch.float32 and _trains_half(feature)


def _trains_half(feature: Tensor) -> bool:
    """Whether kernels with gradients serve."""
    return feature.dtype in HALF and torch.is_grad_enabled() and takes_kernels(feature.device)


def _fused_sample(feature: Tensor, grid: Tensor, visibility: Tensor | None) -> Tensor:
    from synhead.geometry.fused_sample import FusedSample  # noqa: PLC0415

    out: Tensor = FusedSample.apply(feature, grid, visibility)  # type: ignore[no-untyped-call]
    return out


def tap_grid(grid: Float[Tensor, "b h w 2"], size: int, target: int) -> Float[Tensor, "b t2 t2 2"]:
    """A sampling grid resized to ``size``, at the pixels that an aligned-corners resize to ``target`` reads."""
    index, _ = taps(size, target, grid)
    return resize_grid(grid, size)[:, index][:, :, index]


def merge_taps(pixels: Float[Tensor, "b c t2 t2"], size: int, target: int) -> Float[Tensor, "b c {target} {target}"]:
    """The rest of a resize from ``size`` to ``target``, of which :func:`tap_grid` gave the pixels."""
    shares = taps(size, target, pixels)[1]
    if _trains_half(pixels):
        from synhead.geometry.fused_resize import FusedMerge  # noqa: PLC0415

        out: Tensor = FusedMerge.apply(pixels, shares)  # type: ignore[no-untyped-call]
        return out
    weight = shares.to(pixels.dtype)
    low, high = pixels.unflatten(2, (target, 2)).unbind(dim=3)
    rows = low * weight[:, :1] + high * weight[:, 1:]
    left, right = rows.unflatten(3, (target, 2)).unbind(dim=4)
    return left * weight[:, 0] + right * weight[:, 1]


def taps(size: int, target: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Positions (2 * target) and weights (target, 2) that an aligned-corners resize from ``size`` reads on one axis."""
    place = torch.arange(target, device=like.device, dtype=torch.float64) * ((size - 1) / max(target - 1, 1))
    low = place.floor().clamp_(max=size - 2)
    index = torch.stack([low, low + 1], dim=-1).long().flatten()
    fraction = (place - low).to(torch.float32)
    return index, torch.stack([1 - fraction, fraction], dim=-1)
