"""How much a server takes on: sizes, lengths, places in the queue, and how long anything is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from synhead.config import ConfigError

OPTIONS_BYTES = 16_384
"""Of the options of a job, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``portrait_bytes``, ``driving_bytes``: of an upload. ``portrait_pixels``, ``video_pixels``: of a picture.

    ``seconds``, ``frames``: of a driving video or template. ``waiting``: jobs that wait for their turn. ``kept``: jobs
    whose results are kept, the newest, each for ``keep_seconds``; as many that failed or were cancelled are remembered.
    ``uploads``: received at the same time, each within ``upload_seconds`` and without a pause of ``idle_seconds``.
    """

    portrait_bytes: int = 30_000_000
    driving_bytes: int = 300_000_000
    portrait_pixels: int = 50_000_000
    video_pixels: int = 4096 * 2304
    seconds: float = 120.0
    frames: int = 7200
    waiting: int = 16
    kept: int = 32
    keep_seconds: float = 3600.0
    uploads: int = 8
    upload_seconds: float = 300.0
    idle_seconds: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise ConfigError(f"limit {field.name} is {value}; choose a number above 0")
