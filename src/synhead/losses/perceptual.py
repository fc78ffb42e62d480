"""Perceptual loss over an image pyramid (spec section C; Johnson 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.precision import full_precision, upcast
from synhead.losses.config import LossConfig
from synhead.losses.feature_weights import build_extractor
from synhead.losses.features import FeatureExtractor
from synhead.losses.filters import filter_image
from synhead.nn.blocks import antialias_kernel
from synhead.nn.conv import halved_once


class PerceptualLoss(nn.Module):
    """Sum over scales 1, 1/2, 1/4, 1/8 and layers l of E[|phi_l(I) - sg phi_l(I_d)|]; 20 means with VGG19.

    Scales at which the extractor would run out of pixels are left out (with VGG19, those under 16 pixels); of pictures
    for which that is all of them, such as cut-outs of a small model's, the loss is 0. Works under bfloat16 autocast:
    feature maps stay in bfloat16, differences are reduced in float32. float16 would underflow.
    """

    def __init__(self, extractor: FeatureExtractor, factors: Sequence[int] = LossConfig.perceptual_factors) -> None:
        super().__init__()
        self.extractor = extractor
        self.downscales = nn.ModuleList(_Downscale(factor) for factor in factors)
        self.compare = FeatureDistance(extractor)

    def levels(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """The image at the scales that count, fine to coarse."""
        side = min(image.shape[-2:])
        modules = [module for module in self.downscales if isinstance(module, _Downscale)]
        return [module(image) for module in modules if side // module.factor >= self.extractor.minimum_size]

    def forward(
        self, images: Sequence[Float[Tensor, "b 3 h w"]], target: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, ""], ...]:
        """The loss of each of ``images`` against one target, all in one batch of the extractor."""
        found = self.levels(torch.cat(list(images)) if len(images) > 1 else images[0])
        wanted = self.levels(target.detach())
        if not wanted:
            return tuple(image.new_zeros((), dtype=torch.promote_types(image.dtype, torch.float32)) for image in images)
        with halved_once():
            scales = [self.compare(ours, theirs) for ours, theirs in zip(found, wanted, strict=True)]
        return torch.stack(scales).sum(0).unbind()


class FeatureDistance(nn.Module):
    """Sum over layers of E[|phi_l(I) - sg phi_l(I_d)|] at one scale, for each I of several against one I_d."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, found: Float[Tensor, "mb 3 h w"], wanted: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " m"]:
        """``found``: several images a target, one after the other in the batch."""
        with torch.no_grad():
            targets = self.extractor(wanted)
        return torch.stack(self.extractor.distances(found, targets)).sum(0)


class _Downscale(nn.Module):
    """``AntialiasDownscale`` in float32 under autocast too, made for gradients of the image."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.line = tuple(antialias_kernel(factor)[0, 0].double().sum(dim=0).tolist())

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        if self.factor == 1:
            return image
        with full_precision(image):
            return filter_image(upcast(image), self.line, stride=self.factor)


def build_perceptual(config: LossConfig, *, weights: Path | None = None) -> PerceptualLoss | None:
    """The perceptual loss that ``config`` names, None where it is off. Raises PerceptualWeightsError.

    ``weights``: the file of ``vgg19``, the directory of ``local``; otherwise looked up (see ``load_vgg19``).
    """
    if config.weights.perceptual == 0:
        return None
    extractor = build_extractor(config.perceptual, weights=weights, seed=config.perceptual_seed)
    return None if extractor is None else PerceptualLoss(extractor, config.perceptual_factors)
