"""Group norm, alone or followed by a swish: the fused kernels where they apply, PyTorch everywhere else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.precision import autocast_dtype
from synhead.geometry.triton_there import takes_kernels

_HALF = (torch.bfloat16, torch.float16)


def _fused(norm: nn.GroupNorm, x: Tensor, *, swish: bool) -> Tensor | None:
    """The fused result, or None where it does not apply: no GPU, full precision, under a compiler, without Triton."""
    dtype = autocast_dtype(x)
    if dtype not in _HALF or not takes_kernels(x.device):
        return None
    from synhead.nn.fused_norm import FusedGroupNorm  # noqa: PLC0415 - Triton exists on GPU builds only

    out: Tensor = FusedGroupNorm.apply(x.to(dtype), norm.weight, norm.bias, norm.num_groups, norm.eps, swish)  # type: ignore[no-untyped-call]
    return out


def normalise(norm: nn.GroupNorm, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """``norm(x)``."""
    fused = _fused(norm, x, swish=False)
    if fused is not None:
        return fused
    plain: Tensor = norm(x)
    return plain


def normalise_swish(norm: nn.GroupNorm, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """``swish(norm(x))``, swish(z) = z * sigmoid(z)."""
    fused = _fused(norm, x, swish=True)
    if fused is not None:
        return fused
    return F.silu(norm(x), inplace=not torch.is_grad_enabled())  # swish's gradient needs its input
