"""Codebook losses (spec C; paper eqs. 3 and 5): sums over the scales at which a codebook compensates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from synhead.geometry.grid import pixels_per_unit
from synhead.losses.image import mean
from synhead.types import MotionCoding, Quantized


def code_loss(codes: Sequence[Quantized]) -> Float[Tensor, ""]:
    """Sum over scales of the quantiser's loss (spec B.8). Raises ValueError without any scale."""
    if not codes:
        raise ValueError("code_loss needs at least one scale: leave the term out where a codebook has none")
    return torch.stack([code.loss for code in codes]).sum()


def motion_reconstruction_loss(codings: Sequence[MotionCoding]) -> Float[Tensor, ""]:
    """Sum over scales of E[|D_M(.) / c - sg(M^{i-1} - I)|], c pixels a unit (31.5 at 64): in units of [-1, 1].

    Raises ValueError without any scale.
    """
    if not codings:
        raise ValueError("motion_reconstruction_loss needs at least one scale: leave the term out where there is none")
    errors = [_error(coding) for coding in codings]
    return torch.stack(errors).sum()


def _error(coding: MotionCoding) -> Float[Tensor, ""]:
    error_px = mean((coding.reconstruction_px - coding.target_px.detach()).abs())
    return error_px / pixels_per_unit(coding.target_px.shape[-1])
