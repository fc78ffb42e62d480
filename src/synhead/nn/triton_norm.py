"""Group norm for inference on the kernels of :mod:`synhead.nn.fused_norm`: over its input, or of parts as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from synhead.nn.fused_norm import NormPlan, Rows


def group_norm(
    norm: nn.GroupNorm, x: Tensor, *, swish: bool, before: Tensor | None = None, inplace: bool = False
) -> Tensor:
    """``norm(x + before)``, with a swish after it or not; for inference. x (b c h w): half precision, channels last.

    ``before``: a bias (c) that whoever made x left out. ``inplace``: over x.
    """
    out = x if inplace else torch.empty_like(x)
    affine = (norm.weight, norm.bias, norm.eps)
    NormPlan(x, norm.num_groups).normalise(x, affine, before, Rows(out, x.shape[1]), swish=swish)
    return out


def group_norm_joined(norm: nn.GroupNorm, parts: Sequence[Tensor], *, swish: bool) -> Tensor:
    """``group_norm(norm, torch.cat(parts, dim=1), swish=swish)``; no group may lie in two of the parts."""
    size, channels = norm.num_channels // norm.num_groups, norm.num_channels
    like = parts[0]
    shape = (like.shape[0], channels, *like.shape[2:])
    out = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
    start = 0
    for part in parts:
        columns = slice(start, start + part.shape[1])
        affine = (norm.weight[columns], norm.bias[columns], norm.eps)
        plan = NormPlan(part, part.shape[1] // size)
        plan.normalise(part, affine, None, Rows(out[:, columns], channels), swish=swish)
        start += part.shape[1]
    return out
