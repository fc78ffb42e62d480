"""Convolutions that give what the plain ones give, up to rounding, with less arithmetic. For inference only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.nn.blocks import Upsample
from synhead.nn.phases import phase_kernels

# Where the transforms pay: measured against oneDNN's direct convolution on AVX-512 (docs/speed.md).
_WINOGRAD_CHANNELS = 64
_WINOGRAD_SIDE = 32


class WinogradConv2d(nn.Module):
    """A 3 x 3 convolution of stride 1 by NNPACK's Winograd kernels: float32 on a CPU; other inputs go the plain way.

    About a fifth of the multiplications on 8 x 8 tiles; rounding differs from the direct sum's by 1e-5 of the spread.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = plain.weight, plain.bias

    @staticmethod
    def serves(module: nn.Conv2d) -> bool:
        """Whether ``module`` is a convolution that gains from this one, on this build of PyTorch."""
        return (
            module.kernel_size == (3, 3)
            and module.stride == (1, 1)
            and module.padding == (1, 1)
            and module.groups == 1
            and min(module.in_channels, module.out_channels) >= _WINOGRAD_CHANNELS
            and module.weight.dtype == torch.float32
            and module.weight.device.type == "cpu"
            and torch.backends.nnpack.is_available()
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        plainly = min(x.shape[-2:]) < _WINOGRAD_SIDE or x.dtype != torch.float32 or torch.compiler.is_compiling()
        if plainly:
            return F.conv2d(x, self.weight, self.bias, padding=1)
        out: Tensor = torch._nnpack_spatial_convolution(x.contiguous(), self.weight, self.bias, 1, 1)
        return out


class PhaseUpsample(nn.Module):
    """``Upsample`` without the enlarged picture: each of four phases of the output is a 2 x 2 convolution of the input.

    A pixel of the enlarged picture sees 2 x 2 pixels of the small one, so kernel taps that fall on the same pixel add
    up: 16 multiplications for 36.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, plain: Upsample) -> None:
        super().__init__()
        assert plain.conv.bias is not None
        self.channels = plain.conv.out_channels
        self.register_buffer("weight", phase_kernels(plain.conv.weight.detach()))
        self.register_buffer("bias", plain.conv.bias.detach().repeat(4))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        batch, _, height, width = x.shape
        phases = F.conv2d(x, self.weight, self.bias, padding=1).unflatten(1, (4, self.channels))
        out = torch.empty(
            (batch, self.channels, 2 * height, 2 * width),
            dtype=phases.dtype,
            device=x.device,
            memory_format=torch.channels_last,
        )
        for i in range(4):
            row, column = divmod(i, 2)
            out[:, :, row::2, column::2] = phases[:, i, :, row : row + height, column : column + width]
        return out
