"""The model's configuration. Sizes that follow from others (feature sizes, code allocations) are properties, so that a
configuration cannot contradict itself. Defaults are the published configuration (preset ``paper``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from synhead.config.errors import require

Scope = Literal["none", "single", "multi"]
Allocation = Literal["shared", "split"]
Detail = Literal["blurred", "patches"]


@dataclass(frozen=True, kw_only=True)
class HourglassConfig:
    """Widths of an hourglass (spec B.1): block i has ``min(max_width, width * 2**(i + 1))`` channels."""

    width: int
    blocks: int = 5
    max_width: int = 1024

    def __post_init__(self) -> None:
        require(self.width > 0 and self.blocks > 0, "hourglass: width and blocks must be positive")
        require(self.max_width >= self.width, "hourglass: max_width must be at least width")


@dataclass(frozen=True, kw_only=True)
class KeypointConfig:
    """Keypoint detector (spec B.2).

    ``detail``: what it sees of the image at ``flow_size``: ``blurred``, downscaled with an antialiasing blur
    (published), in which eyelids are less than two pixels apart; or ``patches``, learned features of every square of
    pixels.
    """

    count: int = 15
    detail: Detail = "blurred"
    temperature: float = 0.1
    hourglass: HourglassConfig = field(default_factory=lambda: HourglassConfig(width=32))

    def __post_init__(self) -> None:
        require(self.count > 0, "keypoints.count must be positive")
        require(self.temperature > 0, "keypoints.temperature must be positive")


@dataclass(frozen=True, kw_only=True)
class CoarseMotionConfig:
    """Dense motion network that gives M^0 and O^0 (spec B.3)."""

    heatmap_variance: float = 0.01
    hourglass: HourglassConfig = field(default_factory=lambda: HourglassConfig(width=64))

    def __post_init__(self) -> None:
        require(self.heatmap_variance > 0, "coarse_motion.heatmap_variance must be positive")


@dataclass(frozen=True, kw_only=True)
class CodebookConfig:
    """One codebook with its retrieval transformer.

    ``scope``: at which scales it compensates: none, the first only (``single``, which then sees all codes: the paper
    does not say how many), or all (``multi``).
    ``allocation``: scale i of n sees codes [0, i*K/n) (``shared``, the paper) or [(i-1)*K/n, i*K/n) (``split``).
    ``context``: attention reads the codes as they are (``raw``, the paper), or each brought to mean 0 and variance 1
    (``normalised``, ours): codes begin so small that raw ones all look alike to it.
    """

    codes: int
    width: int
    layers: int = 2
    heads: int = 8
    scope: Scope = "multi"
    allocation: Allocation = "shared"
    context: Literal["raw", "normalised"] = "raw"

    def __post_init__(self) -> None:
        require(self.codes > 0, "codebook: codes must be positive")
        require(self.layers > 0, "codebook: layers must be positive")
        require(self.width % self.heads == 0, f"codebook: width {self.width} must be a multiple of heads {self.heads}")


@dataclass(frozen=True, kw_only=True)
class MotionConfig(CodebookConfig):
    """Motion codebook compensation (spec B.5).

    ``query``: ``full`` adds the warped source feature and the driving heat maps to the motion feature (the paper);
    ``motion`` uses the motion feature alone. ``residual``: ``refine`` decodes the residual from the retrieved motion,
    the current flow and the warped feature (published code); ``plain`` decodes it from the retrieved motion with D_M.
    """

    codes: int = 1024
    width: int = 32
    refine_width: int = 128
    query: Literal["full", "motion"] = "full"
    residual: Literal["refine", "plain"] = "refine"

    def __post_init__(self) -> None:
        # dataclass(slots/kw_only) subclasses call the base check explicitly
        CodebookConfig.__post_init__(self)
        require(self.refine_width % 4 == 0, "motion.refine_width must be a multiple of 4")


@dataclass(frozen=True, kw_only=True)
class AppearanceConfig(CodebookConfig):
    """Appearance codebook compensation (spec B.6)."""

    codes: int = 1024
    width: int = 256


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """How compensated features enter the decoder (spec B.7): modulation (SFT), addition, or both."""

    modulation: bool = True
    addition: bool = True
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(self.modulation or self.addition, "fusion: at least one of modulation and addition must be on")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The whole model. ``feature_widths`` has one entry a scale, coarse to fine, and thereby sets N.

    ``blend``: the decoder draws a mask too, by which its picture is mixed with the source image warped by M^N to give
    I_g (not in the paper). ``lid_gain``: of weights whose first keypoints were led to landmarks, how much further than
    driven :func:`synhead.inference.lids.move_lids` moves the lids, since pictures follow by less; 1: as driven.
    """

    name: str = "paper"
    image_size: int = 256
    flow_size: int = 64
    feature_widths: tuple[int, ...] = (256, 128, 128, 64)
    norm_groups: int = 32
    keypoints: KeypointConfig = field(default_factory=KeypointConfig)
    coarse_motion: CoarseMotionConfig = field(default_factory=CoarseMotionConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    blend: bool = False
    lid_gain: float = 1.0

    def __post_init__(self) -> None:
        n, size = len(self.feature_widths), self.image_size
        require(n >= 1, "feature_widths needs one width a scale")
        require(size % 2 ** (n - 1) == 0, f"image_size {size} must be divisible by 2**{n - 1} for {n} scales")
        require(size % self.flow_size == 0, f"flow_size {self.flow_size} must divide image_size {size}")
        require(0 <= self.lid_gain <= 3, f"lid_gain {self.lid_gain} must be from 0 to 3")
        led = self.lid_gain == 1 or self.keypoints.count >= 12
        require(led, "lid_gain needs keypoints that were led to twelve landmarks: leave it at 1")
        require(self.flow_size % 2 == 0, "flow_size must be even (motion tokens are half of it)")
        require(
            self.scales[0] % self.token_size == 0,
            f"the coarsest feature ({self.scales[0]}) must be a multiple of flow_size / 2 ({self.token_size}): "
            "use fewer scales, a smaller flow_size or a larger image_size",
        )
        for hourglass in (self.keypoints.hourglass, self.coarse_motion.hourglass):
            require(
                self.flow_size % 2**hourglass.blocks == 0,
                f"flow_size {self.flow_size} must be divisible by 2**{hourglass.blocks} (hourglass blocks)",
            )
        for width in (*self.feature_widths, self.motion.width):
            require(
                width % self.norm_groups == 0, f"width {width} must be a multiple of norm_groups {self.norm_groups}"
            )

    @property
    def scales(self) -> tuple[int, ...]:
        """Feature sizes in pixels, coarse to fine: (32, 64, 128, 256) at the published configuration."""
        n = len(self.feature_widths)
        return tuple(self.image_size // 2 ** (n - 1 - i) for i in range(n))

    @property
    def token_size(self) -> int:
        """Side of the square of tokens that both transformers work on: 32 at the published configuration."""
        return self.flow_size // 2

    def width(self, scale: int) -> int:
        """Channels of the features of ``scale`` (spec A: c_a^i)."""
        return self.feature_widths[self.scales.index(scale)]

    def compensated_scales(self, scope: Scope) -> tuple[int, ...]:
        """Scales at which a codebook of that scope works."""
        return {"none": (), "single": self.scales[:1], "multi": self.scales}[scope]

    def codes(self, codebook: CodebookConfig, scale: int) -> slice:
        """Rows of the codebook that ``scale`` may see (section 3.2): the first i*K/n, or its own block when split."""
        compensated = self.compensated_scales(codebook.scope)
        i, n = compensated.index(scale) + 1, len(compensated)
        start = 0 if codebook.allocation == "shared" else (i - 1) * codebook.codes // n
        return slice(start, i * codebook.codes // n)
