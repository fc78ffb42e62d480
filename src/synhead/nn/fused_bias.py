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

__all__ = ["AddBias", "RectifiedConvolution", "channel_sums"]

_TILE = 4096
_PROGRAMS = 528


@triton.jit
def _gradient_kernel(
    gradient,
    out,
    inner,
    parts,
    rows,
    width,
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
        value = tl.load(gradient + place, mask=mask, other=0.0)
        if ACTIVATION > 0:
            made = tl.load(out + place, mask=mask, other=0.0)
            slope = 0.0 if ACTIVATION == 1 else 0.2
            value = tl.where(made > 0, value, (value * slope).to(value.dtype))
            tl.store(inner + place, value, mask=mask)
        total += value.to(tl.float32)
    tl.store(parts + tl.program_id(0) * width + column, tl.sum(total, axis=0), mask=inside)


def _gradients(gradient: Tensor, out: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """Behind the activation, and its sum for each channel."""
    width = gradient.shape[1]
    rows = gradient.numel() // width
    c = triton.next_power_of_2(width)
    r = max(1, _TILE // c)
    part = triton.cdiv(triton.cdiv(rows, _PROGRAMS), r) * r
    count = triton.cdiv(rows, part)
    parts = torch.empty(count, width, dtype=torch.float32, device=gradient.device)
    inner = gradient if activation == "none" else torch.empty_like(gradient)
    _gradient_kernel[(count,)](
        gradient, out, inner, parts, rows, width, part, ACTIVATION=ACTIVATIONS[activation], R=r, C=c
    )
    return inner, parts.sum(dim=0)


def channel_sums(gradient: Tensor) -> Tensor:
    """Sums over batch and pixels of (b c h w), channels last, or over the rows of (n c), without gaps; in float32."""
    return _gradients(gradient, gradient, "none")[1]


def _by_pixel(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class AddBias(torch.autograd.Function):
    """``apply(x, bias, other, activation)``: activation(x + bias) + other, over x (b c h w), which is channels last.

    ``activation``: none, relu or leaky, whose gradients the result tells; with ``other`` (or None) it is none.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, other: Tensor | None, activation: Activation) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        extra = None if other is None else _by_pixel(other.to(x.dtype)).permute(0, 2, 3, 1)
        add_table(rows, bias.detach(), activation=activation, other=extra)
        ctx.mark_dirty(x)
        ctx.activation, ctx.bias_type = activation, bias.dtype
        ctx.other_type = None if other is None else other.dtype
        ctx.save_for_backward(*([x] if activation != "none" else []))
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = _by_pixel(gradients[0])
        out = ctx.saved_tensors[0] if ctx.saved_tensors else gradient
        inner, sums = _gradients(gradient, out, ctx.activation)
        other = None if ctx.other_type is None else gradient.to(ctx.other_type)
        return inner, sums.to(ctx.bias_type), other, None


class RectifiedConvolution(torch.autograd.Function):
    """``apply(x, weight, bias)``: relu(3 x 3 convolution + bias) by one kernel of cuDNN's; weights have no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if rectifies(x.device):
            out = torch.cudnn_convolution_relu(x, weight, bias, (1, 1), (1, 1), (1, 1), 1)
        else:
            out = torch.conv2d(x, weight, bias, padding=1).relu_()
        ctx.save_for_backward(x, weight, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, out = ctx.saved_tensors
        inner = torch.ops.aten.threshold_backward(gradients[0], out, 0)
        dx, _, _ = torch.ops.aten.convolution_backward(
            inner,
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
        )
        return dx, None, None
