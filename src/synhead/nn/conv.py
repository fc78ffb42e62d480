"""Convolutions whose biases, sums and rectifiers go by the fused kernels where they apply, PyTorch's way elsewhere."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.precision import HALF, autocast_dtype
from synhead.geometry.triton_there import takes_kernels

__all__ = ["Activation", "Conv2d", "activate", "activated", "add_bias", "half_kernels", "rectified", "training_kernels"]
__all__ += ["unbiased"]

Activation = Literal["none", "relu", "leaky"]

_LARGE = 2**21  # values from which a saved pass is worth more than the launch of a kernel of ours


def half_kernels(x: Tensor) -> torch.dtype | None:
    """The half precision in which a convolution would take ``x``, if the Triton kernels take it; else None."""
    dtype = autocast_dtype(x)
    return dtype if dtype in HALF and takes_kernels(x.device) else None


def training_kernels(x: Tensor) -> torch.dtype | None:
    """:func:`half_kernels` where gradients are wanted; else None."""
    return half_kernels(x) if torch.is_grad_enabled() else None


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d``; its bias is added at the rate of the memory, and so is its gradient made."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:  # noqa: A002 - as the base's
        if self.bias is None or training_kernels(input) is None:
            return super().forward(input)
        return add_bias(unbiased(self, input), self.bias)


def unbiased(conv: nn.Conv2d, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
    """The convolution without its bias."""
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The activation by PyTorch; leaky: of slope 0.2."""
    if activation == "none":
        return x
    return F.relu(x) if activation == "relu" else F.leaky_relu(x, 0.2)


def activated(conv: nn.Module, x: Float[Tensor, "b c h w"], activation: Activation) -> Float[Tensor, "b d h2 w2"]:
    """``activate(conv(x), activation)``; in training on the kernels, bias and activation are one pass each way."""
    if not isinstance(conv, nn.Conv2d) or conv.bias is None or training_kernels(x) is None:
        return activate(conv(x), activation)
    return add_bias(unbiased(conv, x), conv.bias, activation=activation)


def add_bias(
    x: Float[Tensor, "b c h w"],
    bias: Float[Tensor, " c"],
    *others: Float[Tensor, "b c h w"],
    activation: Activation = "none",
) -> Float[Tensor, "b c h w"]:
    """``activation(x + bias)``, or without one ``x + bias`` plus up to two others.

    May be over ``x``, which nothing else may need, such as a convolution's result.
    """
    if x.numel() >= _LARGE and half_kernels(x) is not None and x.is_contiguous(memory_format=torch.channels_last):
        from synhead.nn.fused_bias import AddBias  # noqa: PLC0415 - Triton exists on GPU builds only

        out: Tensor = AddBias.apply(x, bias, activation, *others)  # type: ignore[no-untyped-call]
        return out
    total = activate(x + bias.to(x.dtype)[:, None, None], activation)
    for other in others:
        total = total + other
    return total


def rectified(conv: nn.Conv2d, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
    """``relu(conv(x))`` of a 3 x 3 convolution that keeps the size and whose weights are frozen."""
    assert conv.bias is not None
    dtype = half_kernels(x)
    if dtype is None:
        return F.relu(conv(x), inplace=True)
    from synhead.nn.fused_bias import RectifiedConvolution  # noqa: PLC0415

    out: Tensor = RectifiedConvolution.apply(x.to(dtype), conv.weight.to(dtype), conv.bias.to(dtype))  # type: ignore[no-untyped-call]
    return out
