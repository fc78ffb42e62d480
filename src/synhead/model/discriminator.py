"""Patch discriminator (spec B.11)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


def _conv(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 4, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.2),
    ]


class Discriminator(nn.Module):
    """Image (b 3 H W) in [-1, 1] to a map of logits (14 x 14 at 256): positive means real."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            *_conv(width, 2 * width, 2),
            *_conv(2 * width, 4 * width, 2),
            *_conv(4 * width, 8 * width, 2),
            *_conv(8 * width, 8 * width, 1),
            nn.Conv2d(8 * width, 1, 4, padding=1),
        )

    def forward(self, image: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 1 h w"]:
        logits: Tensor = self.main(image)
        return logits

    def features(self, image: Float[Tensor, "b 3 H W"]) -> tuple[Tensor, ...]:
        """Outputs of every activation, for feature matching."""
        taps, x = [], image
        for module in self.main:
            x = module(x)
            if isinstance(module, nn.LeakyReLU):
                taps.append(x)
        return tuple(taps)
