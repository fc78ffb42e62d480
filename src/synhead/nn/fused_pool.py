"""A frozen convolution, its ReLU and a 2 x 2 maximum with gradients as Triton kernels: half precision, by pixel.

PyTorch stores eight bytes a maximum to find it again, and its way back is three passes over the large picture: zeros,
the maxima's gradients, the ReLU's. Here a byte tells the place and whether the ReLU was open, and one pass writes all;
the convolution's result itself is not kept.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from synhead.nn.fused_bias import convolve_rectified, input_gradient

_TILE = 1024  # windows of a program: one load of 16 bytes a thread and place


@triton.jit
def _maxima_kernel(
    picture,
    out,
    places,
    rows,
    height,
    width,
    channels,
    PLACES: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """The maximum of each window; with PLACES where it lies, as PyTorch finds it: the first, or the last NaN; or 4."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.program_id(1) * C + tl.arange(0, C)
    mask = (row < rows)[:, None] & (column < channels)[None, :]
    i, j = row // (width // 2), row % (width // 2)  # i counts on over the batch
    line = i // (height // 2) * height + i % (height // 2) * 2
    corner = picture + ((line.to(tl.int64) * width + 2 * j) * channels)[:, None] + column[None, :]
    best = tl.load(corner, mask=mask, other=0.0).to(tl.float32)
    place = tl.zeros((R, C), tl.int32)
    for window in tl.static_range(1, 4):
        step = (window // 2 * width + window % 2) * channels
        value = tl.load(corner + step, mask=mask, other=0.0).to(tl.float32)
        larger = (value > best) | (value != value)  # noqa: PLR0124 - NaN
        best = tl.where(larger, value, best)
        place = tl.where(larger, window, place)
    target = (row.to(tl.int64) * channels)[:, None] + column[None, :]
    tl.store(out + target, best.to(out.dtype.element_ty), mask=mask)
    if PLACES:
        tl.store(places + target, tl.where(best <= 0, 4, place).to(tl.uint8), mask=mask)


@triton.jit
def _spread_kernel(gradient, places, out, rows, height, width, channels, R: tl.constexpr, C: tl.constexpr):
    """The gradient at its maximum's place, zeros elsewhere, in a last row or column of odd sizes too."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.program_id(1) * C + tl.arange(0, C)
    mask = (row < rows)[:, None] & (column < channels)[None, :]
    across, down = (width + 1) // 2, (height + 1) // 2
    i, j = row // across, row % across
    image, i = i // down, i % down
    whole = mask & ((i < height // 2) & (j < width // 2))[:, None]
    small = (image * (height // 2) + i).to(tl.int64) * (width // 2) + j
    source = (small * channels)[:, None] + column[None, :]
    value = tl.load(gradient + source, mask=whole, other=0.0)
    place = tl.load(places + source, mask=whole, other=4).to(tl.int32)
    line = (image * height + 2 * i).to(tl.int64)
    corner = out + ((line * width + 2 * j) * channels)[:, None] + column[None, :]
    for window in tl.static_range(4):
        inside = (2 * i + window // 2 < height) & (2 * j + window % 2 < width)
        step = (window // 2 * width + window % 2) * channels
        tl.store(corner + step, tl.where(place == window, value, 0.0).to(value.dtype), mask=mask & inside[:, None])


def _tiles(rows: int, channels: int) -> tuple[tuple[int, int], dict[str, int]]:
    """The grid, and rows and channels of a program."""
    c = min(triton.next_power_of_2(channels), _TILE)
    r = _TILE // c
    return (triton.cdiv(rows, r), triton.cdiv(channels, c)), {"R": r, "C": c}


def maxima(picture: Tensor, *, places: bool) -> tuple[Tensor, Tensor | None]:
    """``MaxPool2d(2)`` of (b c h w), channels last, and if wanted which pixel of its window each maximum is.

    0 to 3, row by row; 4 for a maximum of zero or less, whose gradient a ReLU before takes away.
    """
    b, c, h, w = picture.shape
    shape = (b, c, h // 2, w // 2)
    out = torch.empty(shape, dtype=picture.dtype, device=picture.device, memory_format=torch.channels_last)
    found = torch.empty_like(out, dtype=torch.uint8) if places else None
    rows = b * (h // 2) * (w // 2)
    grid, tile = _tiles(rows, c)
    _maxima_kernel[grid](picture, out, out if found is None else found, rows, h, w, c, PLACES=places, **tile)
    return out, found


def spread_maxima(gradient: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Of :func:`maxima`'s result (b c h/2 w/2) that of the picture before its ReLU (b c h w); all channels last."""
    b, c = gradient.shape[:2]
    shape = (b, c, height, width)
    out = torch.empty(shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last)
    rows = b * ((height + 1) // 2) * ((width + 1) // 2)
    grid, tile = _tiles(rows, c)
    _spread_kernel[grid](gradient, places, out, rows, height, width, c, **tile)
    return out


class RectifiedPooledConvolution(torch.autograd.Function):
    """``apply(x, weight, bias)``: the 2 x 2 maxima of relu(3 x 3 convolution + bias) of x (b c h w).

    Weights have no gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        full = convolve_rectified(x, weight, bias).contiguous(memory_format=torch.channels_last)
        out, places = maxima(full, places=ctx.needs_input_grad[0])
        ctx.size = full.shape[2:]
        ctx.save_for_backward(x, weight, places)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, places = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        return input_gradient(spread_maxima(gradient, places, *ctx.size), x, weight), None, None
