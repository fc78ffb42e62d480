"""Group norm and swish of two pictures as if they lay side by side, with gradients, on the kernels of the fused norm.

No picture of both is made but the result, which a convolution reads; backward reads its gradient where it lies.
"""

# mypy: disable-error-code="no-untyped-call, type-arg"
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from synhead.nn.fused_norm import Gradients, GroupNormOptions, NormPlan, Rows, Saved, rows_of


class JoinedGroupNorm(torch.autograd.Function):
    """``apply(left, right, weight, bias, options)``: the norm of both (b c h w) side by side (b 2c h w).

    Both of one half precision on a GPU, the result channels last; the groups are even in number, c to each half.
    With ``through`` the norm, left and right, as of :class:`~synhead.nn.fused_norm.FusedGroupNorm`.
    """

    @staticmethod
    def forward(
        ctx: Any, left: Tensor, right: Tensor, weight: Tensor, bias: Tensor, options: GroupNormOptions
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        groups, eps, swish, through = options
        assert groups % 2 == 0
        channels = left.shape[1]
        left, right = (x.contiguous(memory_format=torch.channels_last) for x in (left, right))
        shape = (left.shape[0], 2 * channels, *left.shape[2:])
        out = torch.empty(shape, dtype=left.dtype, device=left.device, memory_format=torch.channels_last)
        made: list[Tensor] = []
        for x, into, w, b in zip((left, right), out.chunk(2, dim=1), weight.chunk(2), bias.chunk(2), strict=True):
            rows = Rows(into, 2 * channels)
            made += NormPlan(x, groups // 2).normalise(x, (w, b, eps), None, rows, swish=swish)
        ctx.save_for_backward(left, right, weight, *made)
        ctx.groups, ctx.swish = groups, swish
        ctx.set_materialize_grads(False)
        return (out, left, right) if through else out

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *through: Tensor | None) -> tuple[Tensor | None, ...]:
        halves = through or (None, None)
        if dy is None:
            return *halves, None, None, None
        left, right, weight, *made = ctx.saved_tensors
        dy = dy.to(left.dtype).contiguous(memory_format=torch.channels_last)
        found: list[tuple[Tensor, Tensor]] = []
        for i, x in enumerate((left, right)):
            saved = Saved(x, weight.chunk(2)[i], None, *made[2 * i : 2 * i + 2])
            rows = Rows(dy.chunk(2, dim=1)[i], dy.shape[1])
            further = halves[i]
            given = Gradients(rows, None if further is None else rows_of(further, x.dtype))
            found.append(NormPlan(x, ctx.groups // 2).gradients(saved, given, swish=ctx.swish))
        (dleft, own), (dright, other) = found
        dweight, dbias = torch.cat([own, other], dim=1).to(weight.dtype)
        return dleft, dright, dweight, dbias, None
