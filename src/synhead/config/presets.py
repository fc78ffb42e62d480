"""Named configurations: presets by size, and the paper's ablations (Table 2, spec G) as changes of any of them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from synhead.config.errors import ConfigError
from synhead.config.model import (
    AppearanceConfig,
    CoarseMotionConfig,
    HourglassConfig,
    KeypointConfig,
    ModelConfig,
    MotionConfig,
)

PresetName = Literal["paper", "base", "lite", "tiny"]
AblationName = Literal[
    "baseline",
    "smc",
    "mmc",
    "mmc_sac",
    "full",
    "no_code_sharing",
    "no_modulation",
    "no_addition",
    "plain_residual",
    "motion_query",
]


def _base() -> ModelConfig:
    """Ours: thinner than the paper's, and what short trainings need to show eyes, colours and texture."""
    return ModelConfig(
        name="base",
        feature_widths=(160, 64, 64, 32),
        keypoints=KeypointConfig(count=20, detail="patches", hourglass=HourglassConfig(width=32, max_width=256)),
        coarse_motion=CoarseMotionConfig(hourglass=HourglassConfig(width=32, max_width=384)),
        motion=MotionConfig(refine_width=56),
        appearance=AppearanceConfig(width=96, heads=6),
        blend=True,
    )


def _lite() -> ModelConfig:
    """For CPUs: every part of the paper at full image and flow size, thin; few heads, for a CPU pays per softmax."""
    return ModelConfig(
        name="lite",
        feature_widths=(64, 32, 16, 8),
        norm_groups=8,
        keypoints=KeypointConfig(hourglass=HourglassConfig(width=16, max_width=128)),
        coarse_motion=CoarseMotionConfig(hourglass=HourglassConfig(width=16, max_width=128)),
        motion=MotionConfig(codes=512, width=16, layers=1, heads=2, refine_width=16),
        appearance=AppearanceConfig(codes=512, width=32, layers=1, heads=2),
    )


def _tiny() -> ModelConfig:
    return ModelConfig(
        name="tiny",
        image_size=64,
        flow_size=16,
        feature_widths=(32, 16, 16, 8),
        norm_groups=8,
        keypoints=KeypointConfig(count=5, hourglass=HourglassConfig(width=8, blocks=3, max_width=32)),
        coarse_motion=CoarseMotionConfig(hourglass=HourglassConfig(width=8, blocks=3, max_width=32)),
        motion=MotionConfig(codes=32, width=16, heads=2, refine_width=16),
        appearance=AppearanceConfig(codes=32, width=16, heads=2),
    )


PRESETS: Mapping[PresetName, ModelConfig] = types.MappingProxyType(
    {"paper": ModelConfig(), "base": _base(), "lite": _lite(), "tiny": _tiny()}
)


def preset(name: str) -> ModelConfig:
    """The named preset; raises ConfigError naming the choices."""
    for known, config in PRESETS.items():
        if name == known:
            return config
    raise ConfigError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")


def ablate(config: ModelConfig, name: AblationName) -> ModelConfig:
    """Table 2 and spec G as configurations: ``config`` with one thing removed, named ``<config>-<ablation>``."""
    motion, appearance, fusion = config.motion, config.appearance, config.fusion
    variants: dict[str, dict[str, Any]] = {
        "baseline": {"motion": replace(motion, scope="none"), "appearance": replace(appearance, scope="none")},
        "smc": {"motion": replace(motion, scope="single"), "appearance": replace(appearance, scope="none")},
        "mmc": {"appearance": replace(appearance, scope="none")},
        "mmc_sac": {"appearance": replace(appearance, scope="single")},
        "full": {},
        "no_code_sharing": {
            "motion": replace(motion, allocation="split"),
            "appearance": replace(appearance, allocation="split"),
        },
        "no_modulation": {"fusion": replace(fusion, modulation=False)},
        "no_addition": {"fusion": replace(fusion, addition=False)},
        "plain_residual": {"motion": replace(motion, residual="plain")},
        "motion_query": {"motion": replace(motion, query="motion")},
    }
    if name not in variants:
        raise ConfigError(f"unknown ablation {name!r}; choose one of {', '.join(variants)}")
    return replace(config, name=f"{config.name}-{name}", **variants[name])
