"""Convolutions of one input as a single convolution: the input is read once, and narrow outputs share their padding."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.triton_there import takes_kernels
from synhead.nn.conv import Activation, activate, convolve


def convolve_together(
    x: Float[Tensor, "b c h w"], *layers: nn.Module, activation: Activation = "none"
) -> tuple[Tensor, ...]:
    """``tuple(layer(x) for layer in layers)``, in one pass where all are plain convolutions of the same geometry.

    ``activation``: of each result.
    """
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    first = convs[0] if convs else None
    if first is None or len(convs) < len(layers) or any(_geometry(conv) != _geometry(first) for conv in convs):
        return tuple(activate(layer(x), activation) for layer in layers)
    weight = torch.cat([conv.weight for conv in convs])
    bias = torch.cat([conv.bias for conv in convs if conv.bias is not None])
    widths = [conv.out_channels for conv in convs]
    if not (torch.is_grad_enabled() and takes_kernels(x.device)):
        out = torch.conv2d(x, weight, bias, first.stride, first.padding, first.dilation)
        return tuple(activate(part, activation) for part in out.split(widths, dim=1))
    parts = convolve(x, weight, bias, first, activation).split(widths, dim=1)
    if activation == "none":
        return parts
    # A convolution reads these: each copied once, here, and not by it in forward and again in backward.
    return tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)


def _geometry(conv: nn.Conv2d) -> tuple[object, ...]:
    assert conv.bias is not None
    assert conv.groups == 1
    return conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode, conv.weight.dtype
