"""Pictures of half and double size with gradients as Triton kernels, by pixel: 2 x 2 means, and pixels repeated 2 x 2.

Each is the other's gradient but for a factor. PyTorch's four kernels compute places pixel by pixel in each thread and
reach a fifth to a third of the memory's rate. Here a program moves whole rows of channels.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 1024  # values of the small picture in a program
_QUARTER = 0.25


@triton.jit
def _halve_kernel(large, small, rows, width, channels, FACTOR: tl.constexpr, R: tl.constexpr, C: tl.constexpr):
    """FACTOR times the sum of each window of four pixels, row by row as PyTorch sums; ``width``: the small one's."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.program_id(1) * C + tl.arange(0, C)
    mask = (row < rows)[:, None] & (column < channels)[None, :]
    # Lines count on over the batch: the one of a window's upper pixels is twice the small picture's.
    corner = (row // width * 2).to(tl.int64) * (2 * width) + row % width * 2
    place = large + (corner * channels)[:, None] + column[None, :]
    total = tl.zeros((R, C), tl.float32)
    for window in tl.static_range(4):
        step = (window // 2 * 2 * width + window % 2) * channels
        total += tl.load(place + step, mask=mask, other=0.0).to(tl.float32)
    target = (row.to(tl.int64) * channels)[:, None] + column[None, :]
    tl.store(small + target, (total * FACTOR).to(small.dtype.element_ty), mask=mask)


@triton.jit
def _double_kernel(small, large, rows, width, channels, FACTOR: tl.constexpr, R: tl.constexpr, C: tl.constexpr):
    """FACTOR times each pixel, at all four of its window; ``width``: the small one's."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.program_id(1) * C + tl.arange(0, C)
    mask = (row < rows)[:, None] & (column < channels)[None, :]
    value = tl.load(small + (row.to(tl.int64) * channels)[:, None] + column[None, :], mask=mask, other=0.0)
    value = (value.to(tl.float32) * FACTOR).to(large.dtype.element_ty)
    corner = (row // width * 2).to(tl.int64) * (2 * width) + row % width * 2
    place = large + (corner * channels)[:, None] + column[None, :]
    for window in tl.static_range(4):
        tl.store(place + (window // 2 * 2 * width + window % 2) * channels, value, mask=mask)


def _run(kernel: Any, picture: Tensor, size: tuple[int, int], factor: float) -> Tensor:
    """``kernel`` from (b c h w) to the other ``size``, channels last; float32 or half precision."""
    picture = picture.contiguous(memory_format=torch.channels_last)
    b, channels = picture.shape[:2]
    out = torch.empty(
        (b, channels, *size), dtype=picture.dtype, device=picture.device, memory_format=torch.channels_last
    )
    height, width = (min(pair) for pair in zip(picture.shape[2:], size, strict=True))
    rows = b * height * width
    c = min(triton.next_power_of_2(channels), _TILE)
    r = _TILE // c
    grid = (triton.cdiv(rows, r), triton.cdiv(channels, c))
    kernel[grid](picture, out, rows, width, channels, FACTOR=factor, R=r, C=c)
    return out


def _halve(picture: Tensor, factor: float) -> Tensor:
    height, width = picture.shape[2:]
    return _run(_halve_kernel, picture, (height // 2, width // 2), factor)


def _double(picture: Tensor, factor: float) -> Tensor:
    height, width = picture.shape[2:]
    return _run(_double_kernel, picture, (2 * height, 2 * width), factor)


class HalvedPicture(torch.autograd.Function):
    """``apply(x)``: the means of 2 x 2 pixels of x (b c h w), of even height and width."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return _halve(x, _QUARTER)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return _double(gradients[0], _QUARTER)


class DoubledPicture(torch.autograd.Function):
    """``apply(x)``: each pixel of x (b c h w) as 2 x 2 equal ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return _double(x, 1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return _halve(gradients[0], 1.0)
