"""Raw videos of any kind to face clips: `synhead prepare`."""

from __future__ import annotations

from synhead.training.preparation.options import (
    Cause,
    PrepareError,
    PrepareOptions,
    PrepareProgress,
    PrepareReport,
    Rejected,
)
from synhead.training.preparation.run import find_videos, prepare_clips

__all__ = [
    "Cause",
    "PrepareError",
    "PrepareOptions",
    "PrepareProgress",
    "PrepareReport",
    "Rejected",
    "find_videos",
    "prepare_clips",
]
