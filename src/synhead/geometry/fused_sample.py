"""Sampling and occluding with gradients as Triton kernels: features in half precision, channels last; flows in float32.

PyTorch samples a bfloat16 feature by way of float32 and channels first: around every warp it converts types and
layouts, forward and backward, and the gradient that comes out channels first slows down every sum that it meets.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from synhead.geometry.fused_warp import corner, parted, tile


@triton.jit
def _place(grid, at, side, mask):
    """Of samples: column and row of the first corner, and how far right and down of it they are."""
    u = (tl.load(grid + 2 * at, mask=mask, other=0.0) + 1) * 0.5 * (side - 1)
    v = (tl.load(grid + 2 * at + 1, mask=mask, other=0.0) + 1) * 0.5 * (side - 1)
    left, right = parted(u, side)
    top, down = parted(v, side)
    return left, top, right[:, None], down[:, None]


@triton.jit
def _forward_kernel(
    feature,
    grid,
    visibility,
    out,
    side,
    channels,
    pixels,
    VISIBLE: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """R pixels of one item."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    mask = pixel < pixels
    at = item * pixels + pixel
    column = tl.arange(0, C)
    source = feature + item * side * side * channels
    left, top, right, down = _place(grid, at, side, mask)
    a, _, _ = corner(source, top, left, side, channels, column, mask)
    b, _, _ = corner(source, top, left + 1, side, channels, column, mask)
    c, _, _ = corner(source, top + 1, left, side, channels, column, mask)
    d, _, _ = corner(source, top + 1, left + 1, side, channels, column, mask)
    result = (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)
    if VISIBLE:
        result *= tl.load(visibility + at, mask=mask, other=0.0)[:, None]
    known = mask[:, None] & (column < channels)[None, :]
    tl.store(out + at[:, None] * channels + column[None, :], result.to(out.dtype.element_ty), mask=known)


@triton.jit
def _backward_kernel(
    feature,
    grid,
    visibility,
    gradient,
    feature_gradient,
    grid_gradient,
    visibility_gradient,
    side,
    channels,
    pixels,
    VISIBLE: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """Of R pixels of one item: added up in ``feature_gradient``, which is float32 and zero before."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    mask = pixel < pixels
    at = item * pixels + pixel
    column = tl.arange(0, C)
    known = mask[:, None] & (column < channels)[None, :]
    g = tl.load(gradient + at[:, None] * channels + column[None, :], mask=known, other=0.0).to(tl.float32)
    base = item * side * side * channels
    left, top, right, down = _place(grid, at, side, mask)
    a, place_a, there_a = corner(feature + base, top, left, side, channels, column, mask)
    b, place_b, there_b = corner(feature + base, top, left + 1, side, channels, column, mask)
    c, place_c, there_c = corner(feature + base, top + 1, left, side, channels, column, mask)
    d, place_d, there_d = corner(feature + base, top + 1, left + 1, side, channels, column, mask)
    if VISIBLE:
        sampled = (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)
        tl.store(visibility_gradient + at, tl.sum(g * sampled, axis=1), mask=mask)
        g *= tl.load(visibility + at, mask=mask, other=0.0)[:, None]
    half = 0.5 * (side - 1)
    across = tl.sum(g * ((1 - down) * (b - a) + down * (d - c)), axis=1) * half
    along = tl.sum(g * ((1 - right) * (c - a) + right * (d - b)), axis=1) * half
    tl.store(grid_gradient + 2 * at, across, mask=mask)
    tl.store(grid_gradient + 2 * at + 1, along, mask=mask)
    into = feature_gradient + base
    tl.atomic_add(into + place_a, g * (1 - down) * (1 - right), mask=there_a, sem="relaxed")
    tl.atomic_add(into + place_b, g * (1 - down) * right, mask=there_b, sem="relaxed")
    tl.atomic_add(into + place_c, g * down * (1 - right), mask=there_c, sem="relaxed")
    tl.atomic_add(into + place_d, g * down * right, mask=there_d, sem="relaxed")


class FusedSample(torch.autograd.Function):
    """``apply(feature, grid, visibility)``: bilinear samples, corners aligned, zeros outside, times the visibility.

    feature (b c s s): half precision; grid (b h w 2) and visibility (b 1 h w, or None): float32, of the output's size.
    """

    @staticmethod
    def forward(ctx: Any, feature: Tensor, grid: Tensor, visibility: Tensor | None) -> Tensor:
        feature = feature.contiguous(memory_format=torch.channels_last)
        grid = grid.float().contiguous()
        visible = grid if visibility is None else visibility.float().contiguous()
        (batch, channels, side, _), (_, height, width, _) = feature.shape, grid.shape
        shape = (batch, channels, height, width)
        out = torch.empty(shape, dtype=feature.dtype, device=feature.device, memory_format=torch.channels_last)
        sizes = (side, channels, height * width)
        c, r = tile(channels)
        _forward_kernel[(batch, triton.cdiv(sizes[2], r))](
            feature, grid, visible, out, *sizes, VISIBLE=visibility is not None, R=r, C=c
        )
        ctx.save_for_backward(feature, grid, *([] if visibility is None else [visible]))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        feature, grid, *visible = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        batch, channels, side, _ = feature.shape
        total = torch.zeros_like(feature, dtype=torch.float32)
        grid_gradient = torch.empty_like(grid)
        visibility_gradient = torch.empty_like(visible[0]) if visible else None
        pixels = grid.shape[1] * grid.shape[2]
        c, r = tile(channels)
        _backward_kernel[(batch, triton.cdiv(pixels, r))](
            feature, grid, visible[0] if visible else grid, gradient, total, grid_gradient,
            visibility_gradient if visible else grid, side, channels, pixels, VISIBLE=bool(visible), R=r, C=c,
        )  # fmt: skip
        return total.to(feature.dtype), grid_gradient, visibility_gradient
