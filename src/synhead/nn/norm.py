"""Group norm (alone or followed by a swish) and layer norm: fused kernels where they apply, PyTorch elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.nn.conv import half_kernels, training_kernels


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


def _hands_through(dtype: torch.dtype | None, *parts: Tensor) -> bool:
    """Whether a norm on the kernels hands its inputs through: in training, where it reads them as they are."""
    return all(x.dtype == dtype and x.requires_grad for x in parts)


def normalise_through(
    norm: nn.GroupNorm, x: Float[Tensor, "b c h w"], *, swish: bool
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """:func:`normalise_swish` or :func:`normalise`, and x for its other reader, which may not write over it.

    In training on the kernels the norm's backward pass then sums the gradients of both.
    """
    if not _hands_through(training_kernels(x), x):
        return (normalise_swish if swish else normalise)(norm, x), x
    from synhead.nn.fused_norm import FusedGroupNorm, GroupNormOptions  # noqa: PLC0415

    options = GroupNormOptions(norm.num_groups, norm.eps, swish, through=True)
    normed, handed = FusedGroupNorm.apply(x, norm.weight, norm.bias, None, options)  # type: ignore[no-untyped-call]
    return normed, handed


def normalise_swish_joined(
    norm: nn.GroupNorm, left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"], dtype: torch.dtype
) -> tuple[Float[Tensor, "b c2 h w"], Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """``swish(norm(both side by side))`` on the kernels, in half precision, and both for their other reader.

    An even number of groups.
    """
    from synhead.nn.fused_joined_norm import JoinedGroupNorm  # noqa: PLC0415
    from synhead.nn.fused_norm import GroupNormOptions  # noqa: PLC0415

    through = _hands_through(dtype, left, right)
    options = GroupNormOptions(norm.num_groups, norm.eps, swish=True, through=through)
    out = JoinedGroupNorm.apply(left.to(dtype), right.to(dtype), norm.weight, norm.bias, options)  # type: ignore[no-untyped-call]
    return out if through else (out, left, right)


def normalise_rows(norm: nn.LayerNorm, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
    """``norm(x)``."""
    dtype = half_kernels(x)
    if dtype is None:
        plain: Tensor = norm(x)
        return plain
    from synhead.nn.fused_layer_norm import FusedLayerNorm  # noqa: PLC0415

    out: Tensor = FusedLayerNorm.apply(x.to(dtype), norm.weight, norm.bias, norm.eps)  # type: ignore[no-untyped-call]
    return out
