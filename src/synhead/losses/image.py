"""Pixel loss, and the reduction all losses share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def mean(value: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """E[.] over all elements, summed in float32 at least."""
    return value.mean(dtype=torch.promote_types(value.dtype, torch.float32))


def pixel_loss(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """E[|I_g - I_d|] (spec C, pixel)."""
    return mean((image - target).abs())
