"""Large kernels over few channels, with gradients: a kernel's rows as channels, moved and summed by Triton kernels.

cuDNN has slow gradients for 7 x 7 kernels over few channels. Here the rows of a kernel lie beside each other as
channels, so that a kernel one row high and many channels deep is left, of which it has fast ones. Where the inputs are
few they are gathered before the convolution; where the outputs are few each row's part is summed after it. The two
moves are each other's transpose, hence each other's gradient: two passes of the memory, sums in float32.

Both ways of a 7 x 7 layer on an H200, TF32 at batch 64, against cuDNN: keypoint heads 35 to 75 3.00 to 2.17 ms, the
mask head 128 to 17 4.16 to 1.21; the base's 44 to 100 3.93 to 2.39 and 115 to 22 4.28 to 1.66. Two inputs, as
the flow encoders have, are left to cuDNN: with all taps gathered as channels, 2 to 128 in bfloat16 went from 1.36 ms
to 1.70, 2 to 56 from 1.39 to 1.55.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

_TILE = 2048  # values that a program gathers
_SUMS = 512  # sums of a program: four a thread, so that the rows take few registers
_EIGHT = 8  # channels in multiples of which the gathered picture is filled up


@triton.jit
def _gather_kernel(
    x,
    out,
    height,
    width,
    out_height,
    x_item,
    x_channel,
    x_row,
    x_pixel,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    ABOVE: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """All WIDE channels of R pixels of one item: row by row, channel fastest, then zeros. x lies in any layout."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    column = tl.arange(0, C)
    row, channel = column // CHANNELS, column % CHANNELS
    y = (pixel // width)[:, None] + (row - ABOVE)[None, :]
    mask = (pixel < out_height * width)[:, None] & (column < WIDE)[None, :]
    real = mask & (row < ROWS)[None, :] & (y >= 0) & (y < height)
    source = x + item * x_item + y * x_row + (pixel % width * x_pixel)[:, None] + (channel * x_channel)[None, :]
    value = tl.load(source, mask=real, other=0.0)
    target = (item * out_height * width + pixel)[:, None] * WIDE + column[None, :]
    tl.store(out + target, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _sum_kernel(
    parts,
    out,
    height,
    width,
    part_height,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    ABOVE: tl.constexpr,
    WIDE: tl.constexpr,
    SUM: tl.constexpr,
    T: tl.constexpr,
):
    """T values of one item's result, each from the parts that it left in the pixels above and below."""
    item = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * T + tl.arange(0, T)
    mask = place < height * width * CHANNELS
    pixel, channel = place // CHANNELS, place % CHANNELS
    y = pixel // width + ABOVE
    source = parts + item * part_height * width * WIDE + (pixel + ABOVE * width) * WIDE + channel
    total = tl.zeros((T,), SUM)
    for row in tl.static_range(ROWS):
        real = mask & (y >= row) & (y - row < part_height)
        total += tl.load(source + row * (CHANNELS - width * WIDE), mask=real, other=0.0).to(SUM)
    tl.store(out + item * height * width * CHANNELS + place, total.to(out.dtype.element_ty), mask=mask)


def _room(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)


def _gather(x: Tensor, rows: int, above: int, dtype: torch.dtype) -> Tensor:
    """(b c h w) to (b d h2 w), channels last, where d is rows * c filled up to a multiple of eight by zeros."""
    batch, channels, height, width = x.shape
    wide = rows * channels + -rows * channels % _EIGHT
    out_height = height + 2 * above - rows + 1
    out = _room(x, (batch, wide, out_height, width), dtype)
    c = triton.next_power_of_2(wide)
    r = max(1, _TILE // c)
    _gather_kernel[(batch, triton.cdiv(out_height * width, r))](
        x, out, height, width, out_height, *x.stride(), channels, rows, above, WIDE=wide, R=r, C=c
    )  # fmt: skip
    return out


def _sum(parts: Tensor, rows: int, above: int, channels: int, dtype: torch.dtype) -> Tensor:
    """The transpose of :func:`_gather`: (b d h2 w) to (b c h w), channels last."""
    parts = parts.contiguous(memory_format=torch.channels_last)
    batch, wide, part_height, width = parts.shape
    height = part_height - 2 * above + rows - 1
    out = _room(parts, (batch, channels, height, width), dtype)
    exact = tl.float64 if parts.dtype == torch.float64 else tl.float32
    _sum_kernel[(batch, triton.cdiv(height * width * channels, _SUMS))](
        parts, out, height, width, part_height, channels, rows, above, WIDE=wide, SUM=exact, T=_SUMS
    )
    return out


class GatherRows(torch.autograd.Function):
    """``apply(x, rows, above, dtype)``: x (b c h w), in any layout and type, to (b d h2 w) in ``dtype``, channels last.

    Channel row * c + i of pixel (y, x) is channel i of (y + row - above, x), zero above and below the picture.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int, above: int, dtype: torch.dtype) -> Tensor:
        ctx.rows, ctx.above, ctx.channels, ctx.dtype = rows, above, x.shape[1], x.dtype
        return _gather(x, rows, above, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _sum(gradients[0], ctx.rows, ctx.above, ctx.channels, ctx.dtype), None, None, None


class SumRows(torch.autograd.Function):
    """``apply(parts, rows, above, channels)``: the transpose of :class:`GatherRows`, (b d h2 w) to (b c h w)."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, rows: int, above: int, channels: int) -> Tensor:
        ctx.rows, ctx.above, ctx.dtype = rows, above, parts.dtype
        return _sum(parts, rows, above, channels, parts.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _gather(gradients[0], ctx.rows, ctx.above, ctx.dtype), None, None, None


def gather_inputs(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c h1 w1"], padding: tuple[int, int], dtype: torch.dtype
) -> tuple[Float[Tensor, "b e h2 w"], Float[Tensor, "d e 1 w1"], tuple[int, int]]:
    """Picture, weight and padding of the same convolution with the rows of its kernel as channels."""
    outputs, _, rows, columns = weight.shape
    gathered: Tensor = GatherRows.apply(x, rows, padding[0], dtype)
    flat = weight.permute(0, 2, 1, 3).reshape(outputs, -1, 1, columns)
    return gathered, F.pad(flat, (0, 0, 0, 0, 0, gathered.shape[1] - flat.shape[1])), (0, padding[1])


def sum_outputs(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c h1 w1"], padding: tuple[int, int]
) -> Float[Tensor, "b d h2 w2"]:
    """The convolution by rows of its kernel, whose results, of the type of a convolution's, are then summed."""
    outputs, inputs, rows, columns = weight.shape
    # The last row first: then pixel y takes from y, y - 1 and so on, as the gradient of gathered pixels does.
    flat = weight.flip(2).permute(2, 0, 1, 3).reshape(-1, inputs, 1, columns)
    flat = F.pad(flat, (0, 0, 0, 0, 0, x.shape[1] - inputs, 0, -len(flat) % _EIGHT))
    parts = F.conv2d(x, flat, None, 1, (0, padding[1]))
    out: Tensor = SumRows.apply(parts, rows, rows - 1 - padding[0], outputs)
    return out
