"""Vector quantiser with a straight-through gradient (spec B.8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
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
        z, codes = upcast(feature), upcast(codes)
        flat = rearrange(z, "b c h w -> (b h w) c")
        with torch.no_grad():
            distance = torch.addmm(codes.square().sum(dim=1), flat, codes.T, alpha=-2.0)
            index = (distance + flat.square().sum(dim=1, keepdim=True)).argmin(dim=1)
        indices = rearrange(index, "(b h w) -> b h w", b=z.shape[0], h=z.shape[2])
        nearest = rearrange(F.embedding(indices, codes), "b h w c -> b c h w")
        loss = COMMITMENT * F.mse_loss(z, nearest.detach()) + F.mse_loss(nearest, z.detach())
        values = z + (nearest - z).detach()
    return Quantized(values=values.to(feature.dtype), indices=indices, loss=loss)
