"""Large kernels over few channels, with gradients: a kernel's rows as channels, moved and summed by Triton kernels.

cuDNN has slow gradients for 7 x 7 kernels over few channels. Here the rows of a kernel lie beside each other as
channels, so that a kernel one row high and many channels deep is left, of which it has fast ones. Where the inputs are
few they are gathered before the convolution; where the outputs are few each row's part is summed after it. The two
moves are each other's transpose, hence each other's gradient: two passes of the memory, sums in float32.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

__all__ = ["GatherTaps", "SumTaps", "Window", "gather_inputs", "sum_outputs"]

_TILE = 2048  # values that a program gathers
_SUMS = 512  # sums of a program: four a thread, so that 49 taps take few registers
_EIGHT = 8  # channels in multiples of which the gathered picture is filled up
_ALL_TAPS = 128  # channels up to which whole kernels are gathered, not their rows alone


class Window(NamedTuple):
    """Of a kernel, ``rows * columns`` taps; the picture is thought to have zeros above, below, left and right."""

    rows: int
    columns: int
    above: int
    left: int


@triton.jit
def _gather_kernel(
    x,
    out,
    height,
    width,
    out_height,
    out_width,
    x_item,
    x_channel,
    x_row,
    x_pixel,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ABOVE: tl.constexpr,
    LEFT: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """All WIDE channels of R pixels of one item: tap by tap, channel fastest, then zeros. x lies in any layout."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    column = tl.arange(0, C)
    tap, channel = column // CHANNELS, column % CHANNELS
    y = (pixel // out_width)[:, None] + (tap // COLUMNS - ABOVE)[None, :]
    z = (pixel % out_width)[:, None] + (tap % COLUMNS - LEFT)[None, :]
    mask = (pixel < out_height * out_width)[:, None] & (column < WIDE)[None, :]
    real = mask & (tap < ROWS * COLUMNS)[None, :] & (y >= 0) & (y < height) & (z >= 0) & (z < width)
    source = x + item * x_item + y * x_row + z * x_pixel + (channel * x_channel)[None, :]
    value = tl.load(source, mask=real, other=0.0)
    target = (item * out_height * out_width + pixel)[:, None] * WIDE + column[None, :]
    tl.store(out + target, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _sum_kernel(
    parts,
    out,
    height,
    width,
    part_height,
    part_width,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ABOVE: tl.constexpr,
    LEFT: tl.constexpr,
    WIDE: tl.constexpr,
    SUM: tl.constexpr,
    T: tl.constexpr,
):
    """T values of one item's result, each from the parts that its taps left in the pixels around."""
    item = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * T + tl.arange(0, T)
    mask = place < height * width * CHANNELS
    pixel, channel = place // CHANNELS, place % CHANNELS
    y, z = pixel // width + ABOVE, pixel % width + LEFT
    source = parts + item * part_height * part_width * WIDE
    corner = (y * part_width + z) * WIDE + channel
    total = tl.zeros((T,), SUM)
    for r in tl.static_range(ROWS):
        line = mask & (y >= r) & (y - r < part_height)
        for s in tl.static_range(COLUMNS):
            real = line & (z >= s) & (z - s < part_width)
            step = (r * COLUMNS + s) * CHANNELS - s * WIDE
            total += tl.load(source + corner + (step - r * part_width * WIDE), mask=real, other=0.0).to(SUM)
    tl.store(out + item * height * width * CHANNELS + place, total.to(out.dtype.element_ty), mask=mask)


def _room(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)


def _gather(x: Tensor, window: Window, dtype: torch.dtype) -> Tensor:
    """(b c h w) to (b d h2 w2), channels last, where d is taps * c filled up to a multiple of eight by zeros."""
    batch, channels, height, width = x.shape
    taps = window.rows * window.columns
    wide = taps * channels + -taps * channels % _EIGHT
    size = height + 2 * window.above - window.rows + 1, width + 2 * window.left - window.columns + 1
    out = _room(x, (batch, wide, *size), dtype)
    c = triton.next_power_of_2(wide)
    r = max(1, _TILE // c)
    _gather_kernel[(batch, triton.cdiv(size[0] * size[1], r))](
        x, out, height, width, *size, *x.stride(), channels, *window, WIDE=wide, R=r, C=c
    )  # fmt: skip
    return out


def _sum(parts: Tensor, window: Window, channels: int, dtype: torch.dtype) -> Tensor:
    """The transpose of :func:`_gather`: (b d h2 w2) to (b c h w), channels last."""
    parts = parts.contiguous(memory_format=torch.channels_last)
    batch, wide, *size = parts.shape
    height = size[0] - 2 * window.above + window.rows - 1
    width = size[1] - 2 * window.left + window.columns - 1
    out = _room(parts, (batch, channels, height, width), dtype)
    exact = tl.float64 if parts.dtype == torch.float64 else tl.float32
    _sum_kernel[(batch, triton.cdiv(height * width * channels, _SUMS))](
        parts, out, height, width, *size, channels, *window, WIDE=wide, SUM=exact, T=_SUMS
    )
    return out


class GatherTaps(torch.autograd.Function):
    """``apply(x, window, dtype)``: x (b c h w), in any layout and type, to (b d h2 w2) in ``dtype``, channels last.

    Channel (row * columns + column) * c + i of pixel (y, x) is channel i of (y + row - above, x + column - left).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window, dtype: torch.dtype) -> Tensor:
        ctx.window, ctx.channels, ctx.dtype = window, x.shape[1], x.dtype
        return _gather(x, window, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _sum(gradients[0], ctx.window, ctx.channels, ctx.dtype), None, None


class SumTaps(torch.autograd.Function):
    """``apply(parts, window, channels)``: the transpose of :class:`GatherTaps`, parts (b d h2 w2) to (b c h w)."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, window: Window, channels: int) -> Tensor:
        ctx.window, ctx.dtype = window, parts.dtype
        return _sum(parts, window, channels, parts.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _gather(gradients[0], ctx.window, ctx.dtype), None, None


def gather_inputs(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c h1 w1"], padding: tuple[int, int], dtype: torch.dtype
) -> tuple[Float[Tensor, "b e h2 w2"], Float[Tensor, "d e 1 w3"], tuple[int, int]]:
    """Picture, weight and padding of the same convolution with the rows of its kernel, or all taps, as channels."""
    outputs, inputs, rows, columns = weight.shape
    if rows * columns * inputs <= _ALL_TAPS:
        window, rest = Window(rows, columns, *padding), (0, 0)
        flat = weight.permute(0, 2, 3, 1).reshape(outputs, -1, 1, 1)
    else:
        window, rest = Window(rows, 1, padding[0], 0), (0, padding[1])
        flat = weight.permute(0, 2, 1, 3).reshape(outputs, -1, 1, columns)
    gathered: Tensor = GatherTaps.apply(x, window, dtype)
    return gathered, F.pad(flat, (0, 0, 0, 0, 0, gathered.shape[1] - flat.shape[1])), rest


def sum_outputs(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c h1 w1"], padding: tuple[int, int]
) -> Float[Tensor, "b d h2 w2"]:
    """The convolution by rows of its kernel, whose results, of the type of a convolution's, are then summed."""
    outputs, inputs, rows, columns = weight.shape
    # The last row first: then pixel y takes from y, y - 1 and so on, as the gradient of gathered pixels does.
    flat = weight.flip(2).permute(2, 0, 1, 3).reshape(-1, inputs, 1, columns)
    flat = F.pad(flat, (0, 0, 0, 0, 0, x.shape[1] - inputs, 0, -len(flat) % _EIGHT))
    parts = F.conv2d(x, flat, None, 1, (0, padding[1]))
    out: Tensor = SumTaps.apply(parts, Window(rows, 1, rows - 1 - padding[0], 0), outputs)
    return out
