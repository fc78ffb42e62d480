"""Convolutions whose biases, sums and rectifiers go by the fused kernels where they apply, PyTorch's way elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.precision import HALF, autocast_dtype
from synhead.geometry.triton_there import takes_kernels

__all__ = ["Conv2d", "add_bias", "convolve", "half_kernels", "rectified", "unbiased"]

_EIGHT = 8  # values of half precision in sixteen bytes
_LARGE = 2**21  # values from which a saved pass is worth more than the launch of a kernel of ours


def half_kernels(x: Tensor) -> torch.dtype | None:
    """The half precision in which a convolution would take ``x``, if the Triton kernels take it; else None."""
    dtype = autocast_dtype(x)
    return dtype if dtype in HALF and takes_kernels(x.device) else None


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d``; its bias is added at the rate of the memory, and so is its gradient made."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:  # noqa: A002 - as the base's
        if self.bias is None or not torch.is_grad_enabled() or half_kernels(input) is None:
            return super().forward(input)
        return convolve(input, self.weight, self.bias, self)


def unbiased(conv: nn.Conv2d, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
    """The convolution without its bias."""
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def convolve(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d e h1 w1"], bias: Float[Tensor, " d"], like: nn.Conv2d
) -> Float[Tensor, "b d h2 w2"]:
    """Convolution by ``weight``, then the bias in a pass of its own; stride, padding and dilation as those of ``like``.

    With channels, in and out, filled up to multiples of eight by zeros: on a GPU others have slow kernels.
    """
    outputs, inputs = -weight.shape[0] % _EIGHT, -weight.shape[1] % _EIGHT
    if (outputs or inputs) and like.groups == 1:
        weight = F.pad(weight, (0, 0, 0, 0, 0, inputs, 0, outputs))
        x = F.pad(x.to(autocast_dtype(x)), (0, 0, 0, 0, 0, inputs)) if inputs else x
        bias = F.pad(bias, (0, outputs))
    out = add_bias(F.conv2d(x, weight, None, like.stride, like.padding, like.dilation, like.groups), bias)
    return out[:, : out.shape[1] - outputs] if outputs and like.groups == 1 else out


def add_bias(
    x: Float[Tensor, "b c h w"], bias: Float[Tensor, " c"], other: Float[Tensor, "b c h w"] | None = None
) -> Float[Tensor, "b c h w"]:
    """``x + bias + other``; may be over ``x``, which nothing else may need, such as a convolution's result."""
    if x.numel() >= _LARGE and half_kernels(x) is not None and x.is_contiguous(memory_format=torch.channels_last):
        from synhead.nn.fused_bias import AddBias  # noqa: PLC0415 - Triton exists on GPU builds only

        out: Tensor = AddBias.apply(x, bias, other, "none")  # type: ignore[no-untyped-call]
        return out
    total = x + bias.to(x.dtype)[:, None, None]
    return total if other is None else total + other


def rectified(conv: nn.Conv2d, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
    """``relu(conv(x))`` of a 3 x 3 convolution that keeps the size and whose weights are frozen."""
    assert conv.bias is not None
    dtype = half_kernels(x)
    if dtype is None:
        return F.relu(conv(x), inplace=True)
    from synhead.nn.fused_bias import RectifiedConvolution  # noqa: PLC0415

    out: Tensor = RectifiedConvolution.apply(x.to(dtype), conv.weight.to(dtype), conv.bias.to(dtype))  # type: ignore[no-untyped-call]
    return out
