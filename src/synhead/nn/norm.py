"""Group norm (alone or followed by a swish) and layer norm: fused kernels where they apply, PyTorch elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.nn.conv import half_kernels


def _fused(norm: nn.GroupNorm, x: Tensor, before: Tensor | None, *, swish: bool) -> Tensor | None:
    """The fused result, or None where it does not apply: no GPU, full precision, under a compiler, without Triton."""
    dtype = half_kernels(x)
    if dtype is None:
        return None
    from synhead.nn.fused_norm import FusedGroupNorm, GroupNormOptions  # noqa: PLC0415 - Triton: GPU builds only

    options = GroupNormOptions(norm.num_groups, norm.eps, swish)
    out: Tensor = FusedGroupNorm.apply(x.to(dtype), norm.weight, norm.bias, before, options)  # type: ignore[no-untyped-call]
    return out


def normalise(norm: nn.GroupNorm, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """``norm(x)``."""
    fused = _fused(norm, x, None, swish=False)
    if fused is not None:
        return fused
    plain: Tensor = norm(x)
    return plain


def normalise_swish(
    norm: nn.GroupNorm, x: Float[Tensor, "b c h w"], before: Float[Tensor, " c"] | None = None
) -> Float[Tensor, "b c h w"]:
    """``swish(norm(x + before))``, swish(z) = z * sigmoid(z); ``before``: a bias that whoever made x left out."""
    fused = _fused(norm, x, before, swish=True)
    if fused is not None:
        return fused
    if before is not None:
        x = x + before.to(x.dtype)[:, None, None]
    return F.silu(norm(x), inplace=not torch.is_grad_enabled())  # swish's gradient needs its input


def normalise_swish_joined(
    norm: nn.GroupNorm, left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"], dtype: torch.dtype
) -> Float[Tensor, "b c2 h w"]:
    """``swish(norm(both side by side))`` on the kernels, in half precision; an even number of groups."""
    from synhead.nn.fused_joined_norm import JoinedGroupNorm  # noqa: PLC0415
    from synhead.nn.fused_norm import GroupNormOptions  # noqa: PLC0415

    options = GroupNormOptions(norm.num_groups, norm.eps, swish=True)
    out: Tensor = JoinedGroupNorm.apply(left.to(dtype), right.to(dtype), norm.weight, norm.bias, options)  # type: ignore[no-untyped-call]
    return out


def normalise_rows(norm: nn.LayerNorm, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
    """``norm(x)``."""
    dtype = half_kernels(x)
    if dtype is None:
        plain: Tensor = norm(x)
        return plain
    from synhead.nn.fused_layer_norm import FusedLayerNorm  # noqa: PLC0415

    out: Tensor = FusedLayerNorm.apply(x.to(dtype), norm.weight, norm.bias, norm.eps)  # type: ignore[no-untyped-call]
    return out
