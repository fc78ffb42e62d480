"""Frozen, keyword-only configurations of the model, its presets and ablations, and their JSON form; stdlib only."""

from __future__ import annotations

from synhead.config.errors import ConfigError, UserError, require
from synhead.config.json_form import from_json, to_json
from synhead.config.model import (
    Allocation,
    AppearanceConfig,
    CoarseMotionConfig,
    CodebookConfig,
    FusionConfig,
    HourglassConfig,
    KeypointConfig,
    ModelConfig,
    MotionConfig,
    Scope,
)
from synhead.config.presets import PRESETS, AblationName, PresetName, ablate, preset

__all__ = [
    "PRESETS",
    "AblationName",
    "Allocation",
    "AppearanceConfig",
    "CoarseMotionConfig",
    "CodebookConfig",
    "ConfigError",
    "FusionConfig",
    "HourglassConfig",
    "KeypointConfig",
    "ModelConfig",
    "MotionConfig",
    "PresetName",
    "Scope",
    "UserError",
    "ablate",
    "from_json",
    "preset",
    "require",
    "to_json",
]
