"""Image encoder E_I, image decoder D_I (spec B.4) and the fusion of compensated features (spec B.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.config import ModelConfig
from synhead.geometry.precision import upcast
from synhead.nn.blocks import AttentionBlock, Downsample, ResBlock, Upsample, conv3x3, group_norm
from synhead.nn.conv import activated, training_kernels, unbiased
from synhead.nn.norm import normalise
from synhead.nn.parts import split_batch
from synhead.nn.together import convolve_together


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """``features[scale]``: F_s^i; ``code_target``: the coarsest feature before the middle blocks, VQ's target there."""

    features: Mapping[int, Tensor]
    code_target: Float[Tensor, "b c s s"]

    def split(self, count: int) -> tuple[EncodedImage, EncodedImage]:
        """The first ``count`` and the rest of encodings that were made in one batch."""
        features = {scale: split_batch(feature, count) for scale, feature in self.features.items()}
        targets = split_batch(self.code_target, count)
        first, rest = ({scale: parts[i] for scale, parts in features.items()} for i in range(2))
        return EncodedImage(features=first, code_target=targets[0]), EncodedImage(features=rest, code_target=targets[1])

    def driving_features(self) -> dict[int, Tensor]:
        """F_d^i for the appearance codes. At scale 1 block 11, not block 18 as for F_s^1 (spec C, row 6)."""
        return {**self.features, min(self.features): self.code_target}


class ImageEncoder(nn.Module):
    """E_I: image to one feature a scale."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.scales = config.scales[::-1]
        widths, groups = config.feature_widths[::-1], config.norm_groups
        last = widths[-1]
        self.stem = conv3x3(3, widths[0])
        self.levels = nn.ModuleList()
        for before, width in zip((widths[0], *widths), widths[:-1], strict=False):
            self.levels.append(nn.Sequential(ResBlock(before, width, groups), ResBlock(width, width, groups)))
        self.downsamples = nn.ModuleList(Downsample(width) for width in widths[:-1])
        self.enter = nn.Sequential(
            ResBlock(widths[-2] if len(widths) > 1 else last, last, groups), AttentionBlock(last, groups)
        )
        self.middle = nn.Sequential(
            ResBlock(last, last, groups),
            AttentionBlock(last, groups),
            ResBlock(last, last, groups),
            AttentionBlock(last, groups),
            ResBlock(last, last, groups),
        )
        self.norm = group_norm(last, groups)  # no activation after it
        self.head = conv3x3(last, last)

    def forward(self, image: Float[Tensor, "b 3 H W"]) -> EncodedImage:
        features: dict[int, Tensor] = {}
        x = self.stem(image)
        for scale, level, downsample in zip(self.scales, self.levels, self.downsamples, strict=False):
            features[scale] = level(x)
            x = downsample(features[scale])
        target = self.enter(x)
        features[self.scales[-1]] = self.head(normalise(self.norm, self.middle(target)))
        return EncodedImage(features=features, code_target=target)


class FeatureModulation(nn.Module):
    """SFT: the compensated feature scales and shifts the decoder's (spec B.7)."""

    def __init__(self, channels: int, groups: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.encode = ResBlock(2 * channels, channels, groups)
        self.scale = nn.Sequential(conv3x3(channels, channels), nn.LeakyReLU(0.2), conv3x3(channels, channels))
        self.shift = nn.Sequential(conv3x3(channels, channels), nn.LeakyReLU(0.2), conv3x3(channels, channels))

    def forward(self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        encoded = self.encode(torch.cat([compensated, x], dim=1))
        return x + self.weight * (x * self.scale(encoded) + self.shift(encoded))

    def with_addition(
        self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"], addition: nn.Conv2d | None
    ) -> Float[Tensor, "b c s s"]:
        """Training on the kernels: all sums and products, and ``addition`` of the compensated feature, in one pass."""
        from synhead.nn.fused_modulation import modulated  # noqa: PLC0415 - Triton exists on GPU builds only

        encoded = self.encode.joined(compensated, x)
        scale, scale_bias = _without_bias(self.scale, encoded)
        shift, bias = _without_bias(self.shift, encoded)
        extra = None
        if addition is not None:
            assert addition.bias is not None
            extra, bias = unbiased(addition, compensated), bias + addition.bias / self.weight  # weighed with shift's
        return modulated(x, (scale, shift, extra), torch.stack([scale_bias, bias]), self.weight)


def _without_bias(branch: nn.Sequential, x: Float[Tensor, "b c s s"]) -> tuple[Float[Tensor, "b c s s"], Tensor]:
    """Scale or shift before its last bias, and that bias."""
    first, _, last = branch
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    return unbiased(last, activated(first, x, "leaky")), last.bias


class Fusion(nn.Module):
    """Feature modulation, then addition, of one scale; either may be configured away."""

    def __init__(self, config: ModelConfig, scale: int) -> None:
        super().__init__()
        channels, fusion = config.width(scale), config.fusion
        self.modulation = FeatureModulation(channels, config.norm_groups, fusion.weight) if fusion.modulation else None
        self.addition = conv3x3(channels, channels) if fusion.addition else None

    def forward(self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        if self.modulation is not None and self.modulation.weight != 0 and training_kernels(x) is not None:
            return self.modulation.with_addition(x, compensated, self.addition)
        if self.modulation is not None:
            x = self.modulation(x, compensated)
        if self.addition is not None:
            x = x + self.addition(compensated)
        return x


class Drawing(NamedTuple):
    """I_g, and the share of each of its pixels that ``head`` drew; None: all of it."""

    image: Float[Tensor, "b 3 H W"]
    drawn: Float[Tensor, "b 1 H W"] | None


class ImageDecoder(nn.Module):
    """D_I with fusion: ``trunk`` decodes F_c^1 up to the first fusion, ``hidden`` the rest, ``head`` the image.

    ``mask``: where the configuration blends, how much of ``head``'s picture to take; the rest is the warped source.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.scales = config.scales[1:]
        widths, groups = config.feature_widths, config.norm_groups
        first = widths[0]
        self.stem = conv3x3(first, first)
        self.middle = nn.Sequential(
            ResBlock(first, first, groups),
            AttentionBlock(first, groups),
            ResBlock(first, first, groups),
            ResBlock(first, first, groups),
            AttentionBlock(first, groups),
            ResBlock(first, first, groups),
            AttentionBlock(first, groups),
        )
        self.upsamples = nn.ModuleList(Upsample(width) for width in widths[:-1])
        self.before = nn.ModuleList(ResBlock(a, b, groups) for a, b in pairwise(widths))
        self.after = nn.ModuleList(ResBlock(width, width, groups) for width in widths[1:])
        self.fusions = nn.ModuleDict({str(scale): Fusion(config, scale) for scale in self.scales})
        self.norm = group_norm(widths[-1], groups)  # no activation after it
        self.head = conv3x3(widths[-1], 3)
        self.mask = conv3x3(widths[-1], 1) if config.blend else None

    def trunk(self, compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        """F_c^1 through the blocks at the coarsest size."""
        x: Tensor = self.middle(self.stem(compensated))
        return x

    def hidden(
        self, trunk: Float[Tensor, "b c s s"], compensated: Mapping[int, Tensor] | None
    ) -> Float[Tensor, "b e H W"]:
        """Input of the last convolution; ``compensated`` None leaves fusion out (the low-resolution branch)."""
        x = trunk
        for scale, up, before, after in zip(self.scales, self.upsamples, self.before, self.after, strict=True):
            x = before(up(x))
            if compensated is not None:
                x = self.fusions[str(scale)](x, compensated[scale])
            x = after(x)
        return normalise(self.norm, x)

    def draw(self, hidden: Float[Tensor, "b e H W"], warped: Float[Tensor, "b 3 H W"] | None) -> Drawing:
        """I_g (unclamped) from the last hidden feature and, where the configuration blends, the warped source image.

        Blending is in the precision of ``warped``: float32 keeps all of the photograph's levels.
        """
        if self.mask is None:
            return Drawing(image=self.head(hidden), drawn=None)
        assert warped is not None
        image, logits = convolve_together(hidden, self.head, self.mask)
        drawn = torch.sigmoid(upcast(logits))
        return Drawing(image=torch.lerp(warped, upcast(image), drawn), drawn=drawn)

    def forward(
        self, compensated: Mapping[int, Tensor], warped: Float[Tensor, "b 3 H W"] | None = None
    ) -> Float[Tensor, "b 3 H W"]:
        """F_c^1..F_c^N to I_g (unclamped)."""
        return self.draw(self.hidden(self.trunk(compensated[min(compensated)]), compensated), warped).image
