"""Bilinear resizing with gradients as Triton kernels: half precision, channels last, corners aligned.

Under autocast PyTorch resizes in float32 and converts around it, forward and backward. Here values are read and written
as they lie, and both sums, of four neighbours and of the gradients that meet in a pixel, are float32.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from synhead.geometry.fused_warp import merged, tile


@triton.jit
def _resize_kernel(x, out, side, size, channels, ratio, R: tl.constexpr, C: tl.constexpr):
    """R pixels (of size * size) of one item."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    mask = pixel < size * size
    column = tl.arange(0, C)
    known = mask[:, None] & (column < channels)[None, :]
    y, x_ = (pixel // size).to(tl.float32) * ratio, (pixel % size).to(tl.float32) * ratio
    top, left = tl.minimum(y.to(tl.int32), side - 1), tl.minimum(x_.to(tl.int32), side - 1)
    down, right = (y - top.to(tl.float32))[:, None], (x_ - left.to(tl.float32))[:, None]
    bottom, beside = tl.minimum(top + 1, side - 1), tl.minimum(left + 1, side - 1)
    source = x + item * side * side * channels + column[None, :]
    a = tl.load(source + (top * side + left)[:, None] * channels, mask=known, other=0.0).to(tl.float32)
    b = tl.load(source + (top * side + beside)[:, None] * channels, mask=known, other=0.0).to(tl.float32)
    c = tl.load(source + (bottom * side + left)[:, None] * channels, mask=known, other=0.0).to(tl.float32)
    d = tl.load(source + (bottom * side + beside)[:, None] * channels, mask=known, other=0.0).to(tl.float32)
    result = (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)
    place = (item * size * size + pixel)[:, None] * channels + column[None, :]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=known)


@triton.jit
def _share(place, at, size, ratio):
    """Of output ``place`` in input ``at``: zero unless they are neighbours."""
    share = tl.maximum(1 - tl.abs(place.to(tl.float32) * ratio - at.to(tl.float32)), 0.0)
    return tl.where(place < size, share, 0.0)


@triton.jit
def _resize_gradient_kernel(
    gradient, dx, side, size, channels, ratio, T: tl.constexpr, R: tl.constexpr, C: tl.constexpr
):
    """R pixels (of side * side) of one item, each from the T * T outputs that may have read it."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    mask = pixel < side * side
    column = tl.arange(0, C)
    inside = (column < channels)[None, :]
    row, col = pixel // side, pixel % side
    first_row = tl.maximum(((row - 1).to(tl.float32) / ratio).to(tl.int32), 0)
    first_col = tl.maximum(((col - 1).to(tl.float32) / ratio).to(tl.int32), 0)
    source = gradient + item * size * size * channels + column[None, :]
    total = tl.zeros((R, C), tl.float32)
    for i in range(T):
        down = _share(first_row + i, row, size, ratio)
        for j in range(T):
            share = down * _share(first_col + j, col, size, ratio)
            place = ((first_row + i) * size + first_col + j)[:, None] * channels
            read = (mask & (share > 0))[:, None] & inside
            total += share[:, None] * tl.load(source + place, mask=read, other=0.0).to(tl.float32)
    place = (item * side * side + pixel)[:, None] * channels + column[None, :]
    tl.store(dx + place, total.to(dx.dtype.element_ty), mask=mask[:, None] & inside)


@triton.jit
def _merge_gradient_kernel(gradient, shares, dx, size, channels, R: tl.constexpr, C: tl.constexpr):
    """R of the (2 size)^2 pixels, each of which one output read."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    mask = pixel < 4 * size * size
    y, x = pixel // (2 * size), pixel % (2 * size)
    column = tl.arange(0, C)
    known = mask[:, None] & (column < channels)[None, :]
    share = tl.load(shares + y, mask=mask, other=0.0) * tl.load(shares + x, mask=mask, other=0.0)
    place = (item * size + y // 2) * size + x // 2
    value = tl.load(gradient + place[:, None] * channels + column[None, :], mask=known, other=0.0).to(tl.float32)
    place = (item * 4 * size * size + pixel)[:, None] * channels + column[None, :]
    tl.store(dx + place, (share[:, None] * value).to(dx.dtype.element_ty), mask=known)


class FusedResize(torch.autograd.Function):
    """``apply(x, size)``: x (b c s s) in half precision, s > 1, to (b c size size)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, side, _ = x.shape
        out = _like(x, size)
        ctx.side, ctx.ratio = side, (side - 1) / max(size - 1, 1)
        c, r = tile(channels)
        _resize_kernel[(batch, triton.cdiv(size * size, r))](x, out, side, size, channels, ctx.ratio, R=r, C=c)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        batch, channels, size, _ = gradient.shape
        dx = _like(gradient, ctx.side)
        c, r = tile(channels)
        taps = min(math.ceil(2 / ctx.ratio) + 2, size)
        _resize_gradient_kernel[(batch, triton.cdiv(ctx.side**2, r))](
            gradient, dx, ctx.side, size, channels, ctx.ratio, T=taps, R=r, C=c
        )
        return dx, None


class FusedMerge(torch.autograd.Function):
    """``apply(pixels, shares)``: pixels (b c 2t 2t) and weights (t 2), float32, to (b c t t); see ``merge_taps``."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, shares: Tensor) -> Tensor:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        shares = shares.contiguous()
        ctx.save_for_backward(shares)
        return merged(pixels.permute(0, 2, 3, 1), shares).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (shares,) = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        batch, channels, size, _ = gradient.shape
        dx = _like(gradient, 2 * size)
        c, r = tile(channels)
        _merge_gradient_kernel[(batch, triton.cdiv(4 * size * size, r))](
            gradient, shares, dx, size, channels, R=r, C=c
        )  # fmt: skip
        return dx, None


def _like(x: Tensor, side: int) -> Tensor:
    """Room for a picture of that side."""
    shape = (*x.shape[:2], side, side)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
