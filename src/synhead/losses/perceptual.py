"""Perceptual loss over an image pyramid (spec section C; Johnson 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.losses.config import LossConfig
from synhead.losses.feature_weights import build_extractor
from synhead.losses.features import FeatureExtractor
from synhead.nn.blocks import AntialiasDownscale

__all__ = ["PerceptualLoss", "build_perceptual"]

FACTORS = (1, 2, 4, 8)


class PerceptualLoss(nn.Module):
    """Sum over scales 1, 1/2, 1/4, 1/8 and layers l of E[|phi_l(I) - sg phi_l(I_d)|]; 20 means with VGG19.

    Scales at which the extractor would run out of pixels are left out (with VGG19, those under 16 pixels). Works under
    bfloat16 autocast: feature maps stay in bfloat16, differences are reduced in float32. float16 would underflow.
    """

    def __init__(self, extractor: FeatureExtractor, factors: Sequence[int] = FACTORS) -> None:
        super().__init__()
        self.extractor = extractor
        self.downscales = nn.ModuleList(AntialiasDownscale(3, factor) for factor in factors)

    def describe(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """All feature maps of all scales, fine to coarse."""
        side = min(image.shape[-2:])
        used = [module for module in self.downscales if side // _factor(module) >= self.extractor.minimum_size]
        return tuple(feature for module in used for feature in self.extractor(module(image)))

    def forward(
        self, images: Sequence[Float[Tensor, "b 3 h w"]], target: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, ""], ...]:
        """The loss of each of ``images`` against one target.

        The target is described once, without a graph, and all images in one batch of the extractor.
        """
        with torch.no_grad():
            wanted = self.describe(target)
        found = self.describe(torch.cat(list(images)) if len(images) > 1 else images[0])
        total = torch.stack([_distances(ours, theirs) for ours, theirs in zip(found, wanted, strict=True)]).sum(0)
        return total.unbind()


def _distances(found: Float[Tensor, "mb c h w"], wanted: Float[Tensor, "b c h w"]) -> Float[Tensor, " m"]:
    """E[|.|] of each image's share of a concatenated batch against the same target."""
    difference = (found.unflatten(0, (-1, wanted.shape[0])) - wanted).abs()
    return difference.mean(dim=(1, 2, 3, 4), dtype=torch.promote_types(found.dtype, torch.float32))


def _factor(module: nn.Module) -> int:
    assert isinstance(module, AntialiasDownscale)
    return module.factor


def build_perceptual(config: LossConfig, *, weights: Path | None = None) -> PerceptualLoss | None:
    """The perceptual loss that ``config`` names, None where it is off. Raises PerceptualWeightsError.

    ``weights``: the file of ``vgg19``, the directory of ``local``; otherwise looked up (see ``load_vgg19``).
    """
    if config.weights.perceptual == 0:
        return None
    extractor = build_extractor(config.perceptual, weights=weights, seed=config.perceptual_seed)
    return None if extractor is None else PerceptualLoss(extractor)
