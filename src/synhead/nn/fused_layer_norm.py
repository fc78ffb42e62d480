"""Layer norm with gradients as Triton kernels: half precision in and out, statistics and sums in float32.

Under autocast PyTorch's own works in float32 and converts around it; its gradients of weight and bias are slow for few
channels and many rows.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from synhead.nn.fused_bias import column_sums, row_parts
from synhead.nn.triton_kernels import add_norm


@triton.jit
def _backward_kernel(x, weight, dy, dx, parts, rows, width, eps, part, R: tl.constexpr, C: tl.constexpr):
    """Of a part of the rows; its sums for the gradients of weight and bias. Statistics are made again."""
    column = tl.arange(0, C)
    inside = column < width
    gain = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    dweight, dbias = tl.zeros((R, C), tl.float32), tl.zeros((R, C), tl.float32)
    first = tl.program_id(0) * part
    for start in range(0, part, R):
        row = first + start + tl.arange(0, R)
        mask = (row < tl.minimum(first + part, rows))[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * width + column[None, :]
        value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        grad = tl.load(dy + place, mask=mask, other=0.0).to(tl.float32)
        mean = tl.sum(value, axis=1) / width
        centred = tl.where(mask, value - mean[:, None], 0.0)
        rstd = 1 / tl.sqrt(tl.sum(centred * centred, axis=1) / width + eps)
        normed = centred * rstd[:, None]
        dweight += grad * normed
        dbias += grad
        scaled = grad * gain
        level = tl.sum(scaled, axis=1) / width
        along = tl.sum(scaled * normed, axis=1) / width
        result = rstd[:, None] * (scaled - level[:, None] - normed * along[:, None])
        tl.store(dx + place, result.to(dx.dtype.element_ty), mask=mask)
    base = parts + tl.program_id(0) * 2 * width
    tl.store(base + column, tl.sum(dweight, axis=0), mask=inside)
    tl.store(base + width + column, tl.sum(dbias, axis=0), mask=inside)


class FusedLayerNorm(torch.autograd.Function):
    """``apply(x, weight, bias, eps)``: over the last dimension of x (*n c)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        _, out = add_norm((weight, bias, eps), x)
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dy = gradients[0].contiguous()
        width = x.shape[-1]
        rows = x.numel() // width
        r, c, part = row_parts(rows, width)
        parts = torch.empty(triton.cdiv(rows, part), 2, width, dtype=torch.float32, device=x.device)
        dx = torch.empty_like(x)
        _backward_kernel[(len(parts),)](x, weight, dy, dx, parts, rows, width, ctx.eps, part, R=r, C=c)
        dweight, dbias = column_sums(parts, weight.dtype)
        return dx, dweight, dbias, None
