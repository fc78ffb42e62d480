"""Biases with gradients as Triton kernels: added with a sum or an activation in one pass; half precision, by pixel.

PyTorch adds a bias in a pass of its own, an unvectorised one, and sums its gradient in another; activation and sum take
two more each way. Here forward reads once and writes once, over its input; backward reads the gradient once.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from synhead.geometry.triton_there import rectifies
from synhead.nn.triton_kernels import ACTIVATIONS, Activation, add_table

# 64 registers a thread, so that eight programs share a processor; of biases with eight warps: half the time of 4,096
# with four, on an H200, where there is no activation.
_TILE = 1024
_PROGRAMS = 1056
_COLUMNS = 16


@triton.jit
def _gradient_kernel(
    gradient,
    out,
    inner,
    parts,
    rows,
    width,
    gradient_row,
    part,
    ACTIVATION: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """A part's sums over rows of the gradient behind the activation, which is written if there is one."""
    column = tl.arange(0, C)
    inside = column < width
    total = tl.zeros((R, C), tl.float32)
    first = tl.program_id(0) * part
    for start in range(0, part, R):
        row = first + start + tl.arange(0, R)
        mask = (row < tl.minimum(first + part, rows))[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * width + column[None, :]
        value = tl.load(gradient + row.to(tl.int64)[:, None] * gradient_row + column[None, :], mask=mask, other=0.0)
        value = value.to(tl.float32)
        if ACTIVATION > 0:
            made = tl.load(out + place, mask=mask, other=0.0).to(tl.float32)
            slope = 0.0 if ACTIVATION == 1 else 0.2
            value = tl.where(made > 0, value, value * slope)
            tl.store(inner + place, value.to(inner.dtype.element_ty), mask=mask)
        total += value
    tl.store(parts + tl.program_id(0) * width + column, tl.sum(total, axis=0), mask=inside)


@triton.jit
def _column_kernel(parts, out, rows, width, R: tl.constexpr, C: tl.constexpr):
    """Sums of C columns."""
    column = tl.program_id(0) * C + tl.arange(0, C)
    total = tl.zeros((R, C), tl.float32)
    for start in range(0, rows, R):
        row = start + tl.arange(0, R)
        mask = (row < rows)[:, None] & (column < width)[None, :]
        total += tl.load(parts + row.to(tl.int64)[:, None] * width + column[None, :], mask=mask, other=0.0)
    tl.store(out + column, tl.sum(total, axis=0).to(out.dtype.element_ty), mask=column < width)


def row_parts(rows: int, width: int) -> tuple[int, int, int]:
    """Rows and columns that a program holds at once, and how many rows it sums in all."""
    c: int = triton.next_power_of_2(width)
    r = max(1, _TILE // c)
    return r, c, triton.cdiv(triton.cdiv(rows, _PROGRAMS), r) * r


def column_sums(parts: Tensor, dtype: torch.dtype) -> Tensor:
    """``parts.sum(dim=0)`` of a few hundred rows of partial sums, float32: PyTorch's own takes thrice as long."""
    out = torch.empty(parts.shape[1:], dtype=dtype, device=parts.device)
    _column_kernel[(triton.cdiv(out.numel(), _COLUMNS),)](parts, out, len(parts), out.numel(), R=128, C=_COLUMNS)
    return out


def _gradients(gradient: Tensor, out: Tensor, activation: Activation, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Behind the activation, and its sum for each channel. ``out`` (b c h w) is channels last."""
    width = gradient.shape[1]
    gradient_row = pixel_row(gradient)
    if gradient_row is None:
        gradient, gradient_row = by_pixel(gradient), width
    rows = gradient.numel() // width
    r, c, part = row_parts(rows, width)
    count = triton.cdiv(rows, part)
    parts = torch.empty(count, width, dtype=torch.float32, device=gradient.device)
    inner = gradient if activation == "none" else torch.empty_like(out)
    _gradient_kernel[(count,)](
        gradient, out, inner, parts, rows, width, gradient_row, part,
        ACTIVATION=ACTIVATIONS[activation], R=r, C=c, num_warps=8,
    )  # fmt: skip
    return inner, column_sums(parts, dtype)


def channel_sums(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums over batch and pixels of (b c h w), channels last, or over the rows of (n c), without gaps; by float32."""
    return _gradients(gradient, gradient, "none", dtype)[1]


def by_pixel(x: Tensor) -> Tensor:
    """Channels last; as it is if it lies so."""
    return x.contiguous(memory_format=torch.channels_last)


def pixel_row(x: Tensor) -> int | None:
    """Values from one pixel of (b c h w) to the next, if its pixels lie evenly; a part of the channels does, too."""
    if x.ndim == 2:
        return x.stride(0) if x.stride(1) == 1 else None
    height, width = x.shape[2:]
    row = x.stride(3)
    even = x.stride() == (height * width * row, 1, width * row, row)
    return row if even and row >= x.shape[1] else None


def _rows(x: Tensor) -> Tensor:
    return by_pixel(x).permute(0, 2, 3, 1)


class AddBias(torch.autograd.Function):
    """``apply(x, bias, activation, *others)``: activation(x + bias) + others, over x (b c h w), which is channels last.

    ``activation``: none, relu or leaky, whose gradients the result tells; with one or two others it is none.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, activation: Activation, *others: Tensor) -> Tensor:
        assert not others or activation == "none"
        rows = x.permute(0, 2, 3, 1)
        extra = dict(zip(("other", "second"), (_rows(other.to(x.dtype)) for other in others), strict=False))
        add_table(rows, bias.detach(), activation=activation, **extra)
        ctx.mark_dirty(x)
        ctx.activation, ctx.bias_type = activation, bias.dtype
        ctx.other_types = [other.dtype for other in others]
        ctx.save_for_backward(*([x] if activation != "none" else []))
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.saved_tensors:
            inner, sums = _gradients(gradients[0], ctx.saved_tensors[0], ctx.activation, ctx.bias_type)
            return inner, sums, None
        gradient = by_pixel(gradients[0])
        inner, sums = _gradients(gradient, gradient, ctx.activation, ctx.bias_type)
        return inner, sums, None, *(gradient.to(kind) for kind in ctx.other_types)


def convolve_rectified(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(3 x 3 convolution + bias) of (b c h w), by one kernel of cuDNN's where it is there."""
    if rectifies(x.device):
        return torch.cudnn_convolution_relu(x, weight, bias, (1, 1), (1, 1), (1, 1), 1)
    return torch.conv2d(x, weight, bias, padding=1).relu_()


def input_gradient(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Of the 3 x 3 convolution of x (b c h w) that keeps the size."""
    dx: Tensor = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        [1, 1],
        [1, 1],
        [1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[True, False, False],
    )[0]
    return dx


class RectifiedConvolution(torch.autograd.Function):
    """``apply(x, weight, bias)``: relu(3 x 3 convolution + bias) of x (b c h w); weights have no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out = convolve_rectified(x, weight, bias)
        ctx.save_for_backward(x, weight, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, out = ctx.saved_tensors
        inner = torch.ops.aten.threshold_backward(by_pixel(gradients[0]), out, 0)
        return input_gradient(inner, x, weight), None, None
