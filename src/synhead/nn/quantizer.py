"""Vector quantiser with a straight-through gradient (spec B.8)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from synhead.geometry.precision import full_precision, upcast
from synhead.types import Quantized

COMMITMENT = 0.25


def quantize(feature: Float[Tensor, "b c h w"], codes: Float[Tensor, "n c"]) -> Quantized:
    """Nearest code by squared L2 distance, first on ties.

    Loss = 0.25 * mean((sg[z_q] - z)^2) + mean((z_q - sg[z])^2): the published code's means, not the paper's norms
    (spec C, row 10). Always in float32: half precision picks wrong codes. No EMA update; restarts are the trainer's.
    """
    with full_precision(feature):
        rows = rearrange(feature, "b c h w -> (b h w) c")  # a view of channels last
        values, loss, index = _StraightThrough.apply(rows, upcast(codes))  # type: ignore[no-untyped-call]
    b, _, h, _ = feature.shape
    indices = rearrange(index, "(b h w) -> b h w", b=b, h=h)
    return Quantized(values=rearrange(values, "(b h w) c -> b c h w", b=b, h=h), indices=indices, loss=loss)


def nearest_codes(rows: Float[Tensor, "m c"], codes: Float[Tensor, "n c"]) -> Int[Tensor, " m"]:
    """Index of the nearest code.

    Without the square of the row itself, which the published code adds: all distances of a row have it, so that it
    decides nothing, costs two passes over (m n) and rounds away what tells near codes apart.
    """
    return torch.addmm(codes.square().sum(dim=1), rows, codes.T, alpha=-2.0).argmin(dim=1)


class _StraightThrough(torch.autograd.Function):
    """``apply(rows, codes)``: (m c), (n c) to the codes taken (m c), in the type of ``rows``, the loss, indices (m,).

    Forward, both terms of the loss are one mean. Backward, the codes' gradient sums plain differences and is scaled
    afterwards, when it is small. The published z + sg[z_q - z] is z_q, up to rounding.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        full = upcast(rows)
        index = nearest_codes(full, codes)
        difference = F.embedding(index, codes).sub_(full)
        ctx.save_for_backward(difference, index)
        ctx.mark_non_differentiable(index)
        ctx.set_materialize_grads(False)
        ctx.kind, ctx.count = rows.dtype, len(codes)
        mean = difference.square().mean()
        return F.embedding(index, codes.to(rows.dtype)), COMMITMENT * mean + mean, index

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        values, loss, _ = gradients
        if loss is None:
            return values, None
        difference, index = ctx.saved_tensors
        scale = loss * (2.0 / difference.numel())
        rows = None
        if ctx.needs_input_grad[0]:
            pull = scale * -COMMITMENT
            rows = (difference * pull if values is None else torch.addcmul(values, difference, pull)).to(ctx.kind)
        codes = None
        if ctx.needs_input_grad[1]:
            codes = torch.ops.aten.embedding_dense_backward(difference, index, ctx.count, -1, False) * scale  # noqa: FBT003
        return rows, codes
