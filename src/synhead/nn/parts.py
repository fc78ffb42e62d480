"""Parts of a picture whose gradients are laid out as the picture is.

PyTorch's own: a slice's is zeros by colour, into which pixels are scattered value by value; a split's is joined at a
third of the memory's rate, by colour too where one part has none. What reads them then copies them back.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def _empty(shape: torch.Size, like: Tensor, *, by_pixel: bool) -> Tensor:
    layout = torch.channels_last if by_pixel else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


class _FirstChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int) -> Tensor:  # noqa: ANN401 - as the base has it
        ctx.shape, ctx.by_pixel = x.shape, x.is_contiguous(memory_format=torch.channels_last)
        return x[:, :count]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (gradient,) = gradients
        total = _empty(ctx.shape, gradient, by_pixel=ctx.by_pixel)
        total[:, : gradient.shape[1]] = gradient
        total[:, gradient.shape[1] :] = 0
        return total, None


class _SplitBatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.count, ctx.by_pixel = x.shape, count, x.is_contiguous(memory_format=torch.channels_last)
        return x[:count], x[count:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:  # noqa: ANN401
        known = [gradient for gradient in gradients if gradient is not None]
        if not known:
            return None, None
        total = _empty(ctx.shape, known[0], by_pixel=ctx.by_pixel)
        for part, gradient in zip((total[: ctx.count], total[ctx.count :]), gradients, strict=True):
            if gradient is None:
                part.zero_()
            else:
                part.copy_(gradient)
        return total, None


def first_channels(x: Float[Tensor, "b c h w"], count: int) -> Float[Tensor, "b d h w"]:
    """``x[:, :count]``."""
    out: Tensor = _FirstChannels.apply(x, count)  # type: ignore[no-untyped-call]
    return out


def split_batch(x: Float[Tensor, "b c h w"], count: int) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "m c h w"]]:
    """The first ``count`` items and the rest."""
    first, rest = _SplitBatch.apply(x, count)  # type: ignore[no-untyped-call]
    return first, rest
