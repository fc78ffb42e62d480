"""What may be done to a driver's motion before the portrait follows it."""

from __future__ import annotations

from dataclasses import dataclass

from synhead.config import ConfigError
from synhead.inference.motion_parts import PARTS, Part
from synhead.inference.smoothing import Smoothing

MAX_MULTIPLIER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionEdits:
    """By default nothing is done, and then not one bit changes.

    ``multiplier``: how large movements and Jacobian changes about the reference become; 0 holds the portrait still.
    ``parts``: follow all of the motion, or one of the two parts of motion_parts. Both need relative motion.
    ``smoothing``: of the driver's keypoints over time.
    """

    multiplier: float = 1.0
    parts: Part = "all"
    smoothing: Smoothing | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.multiplier <= MAX_MULTIPLIER:
            raise ConfigError(f"motion multiplier {self.multiplier} must be from 0 to {MAX_MULTIPLIER:g}")
        if self.parts not in PARTS:
            raise ConfigError(f"parts {self.parts!r} must be one of {', '.join(PARTS)}")

    @property
    def need_reference(self) -> bool:
        """Whether an edit is about a reference frame, which absolute motion has not."""
        return self.multiplier != 1.0 or self.parts != "all"
