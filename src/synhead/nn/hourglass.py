"""Hourglass network (spec B.1): an encoder-decoder that concatenates every skip, the last one being the input."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.config import HourglassConfig
from synhead.nn.blocks import conv3x3, enlarge, halve


class DownBlock(nn.Module):
    """Convolution, batch norm, ReLU, 2 x 2 average pooling."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        return halve(self.norm(self.conv(x)).relu_())


class UpBlock(nn.Module):
    """Nearest x2, convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        out: Tensor = self.norm(self.conv(enlarge(x))).relu_()
        return out


class Hourglass(nn.Module):
    """``blocks`` halvings and as many doublings; ``out_channels`` = width + input channels."""

    def __init__(self, in_channels: int, config: HourglassConfig) -> None:
        super().__init__()
        widths = [min(config.max_width, config.width * 2**i) for i in range(config.blocks + 1)]
        self.down_blocks = nn.ModuleList(
            DownBlock(in_channels if i == 0 else widths[i], widths[i + 1]) for i in range(config.blocks)
        )
        self.up_blocks = nn.ModuleList(
            UpBlock((1 if i == config.blocks - 1 else 2) * widths[i + 1], widths[i])
            for i in reversed(range(config.blocks))
        )
        self.out_channels = widths[0] + in_channels

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        skips = [x]
        for block in self.down_blocks:
            skips.append(block(skips[-1]))
        out = skips.pop()
        for block in self.up_blocks:
            out = torch.cat([block(out), skips.pop()], dim=1)
        return out
