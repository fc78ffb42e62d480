"""Frozen, keyword-only configuration of the training data: how frames are stored, paired and augmented."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from synhead.config import require

SamplingMode = Literal["reference", "balanced"]
Placement = Literal["auto", "device", "host", "stream"]


def _require_probability(value: float, name: str) -> None:
    require(0.0 <= value <= 1.0, f"{name} must be between 0 and 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class ColourJitter:
    """Random colour change, equal for both frames of a pair; off in the published recipe (``probability`` 0).

    Brightness, contrast (about mid grey) and saturation are multiplied by a factor drawn from [1 - x, 1 + x]; the hue
    (rotation of the chroma plane) is turned by up to ``hue`` of a full turn either way.
    """

    probability: float = 0.0
    brightness: float = 0.15
    contrast: float = 0.15
    saturation: float = 0.15
    hue: float = 0.02

    def __post_init__(self) -> None:
        _require_probability(self.probability, "colour.probability")
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            require(0.0 <= value < 1.0, f"colour.{name} must be in [0, 1), got {value}")
        require(0.0 <= self.hue <= 0.5, f"colour.hue must be in [0, 0.5] turns, got {self.hue}")


@dataclass(frozen=True, kw_only=True)
class CropJitter:
    """Random similarity crop, equal for both frames of a pair; off in the published recipe (``probability`` 0).

    ``min_scale``: the crop's side is drawn from [min_scale, 1] of the image. ``shift``: share of the room this leaves
    that the crop's centre may use. ``rotation_deg``: turned by up to that much either way (corners are reflected).
    """

    probability: float = 0.0
    min_scale: float = 0.85
    shift: float = 1.0
    rotation_deg: float = 0.0

    def __post_init__(self) -> None:
        _require_probability(self.probability, "crop.probability")
        require(0.0 < self.min_scale <= 1.0, f"crop.min_scale must be in (0, 1], got {self.min_scale}")
        require(0.0 <= self.shift <= 1.0, f"crop.shift must be in [0, 1], got {self.shift}")
        require(0.0 <= self.rotation_deg <= 45.0, f"crop.rotation_deg must be in [0, 45], got {self.rotation_deg}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a training pair is (spec section D). The defaults are the published recipe.

    ``sampling``: ``reference`` draws every identity equally often, each epoch of 100 passes in a new order, then one
    of its clips, then two sorted frames with replacement. ``balanced`` draws a person with weight (clips of the
    person)**``person_temperature`` (0: all equal, 1: by clips), one of its clips (generated ones with
    ``generated_weight`` against 1 for real ones), then frames ``min_distance`` to ``max_distance`` apart, every
    distance equally likely; with ``far_probability`` they are at least half the clip apart.

    ``placement``: where decoded frames live: on the training device, in host memory, nowhere (``stream``: decoded for
    each pair by ``stream_workers`` processes), or ``auto``: on the device if they take at most ``device_share`` of its
    memory, else host memory if they take at most ``host_share`` of what is free, else stream.
    """

    size: int = 256
    sampling: SamplingMode = "reference"
    flip_probability: float = 0.5
    swap_probability: float = 0.5
    person_temperature: float = 0.0
    generated_weight: float = 1.0
    min_distance: int = 1
    max_distance: int | None = None
    far_probability: float = 0.0
    colour: ColourJitter = field(default_factory=ColourJitter)
    crop: CropJitter = field(default_factory=CropJitter)
    placement: Placement = "auto"
    device_share: float = 0.25
    host_share: float = 0.5
    stream_workers: int = 4

    def __post_init__(self) -> None:
        require(self.size > 0 and self.size % 8 == 0, f"data.size must be a positive multiple of 8, got {self.size}")
        for name in ("flip_probability", "swap_probability", "far_probability", "device_share", "host_share"):
            _require_probability(getattr(self, name), f"data.{name}")
        require(0.0 <= self.person_temperature <= 1.0, "data.person_temperature must be between 0 and 1")
        require(self.generated_weight >= 0.0, "data.generated_weight must not be negative")
        require(self.min_distance >= 0, "data.min_distance must not be negative")
        limit = self.max_distance
        require(limit is None or limit >= self.min_distance, "data.max_distance must be at least data.min_distance")
        require(self.stream_workers >= 0, "data.stream_workers must not be negative")
