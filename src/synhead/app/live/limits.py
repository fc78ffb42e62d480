"""What one browser may ask of a live server."""

from __future__ import annotations

from dataclasses import dataclass

from synhead.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLimits:
    """``sessions``: at once. ``portrait_bytes``, ``portrait_pixels``, ``frame_bytes``, ``frame_pixels``: of a picture.
    ``frames_s``: messages a second on average, that many at once. ``hello_s``: until the portrait is there.
    ``idle_s``: without a frame, or with a reply that is not taken. ``origins``: web pages that may connect, besides
    those of this server, such as ``https://example.org``.
    """

    sessions: int = 2
    portrait_bytes: int = 12 * 2**20
    portrait_pixels: int = 40_000_000
    frame_bytes: int = 2**20
    frame_pixels: int = 2_100_000
    frames_s: float = 60.0
    hello_s: float = 20.0
    idle_s: float = 30.0
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = (self.sessions, self.portrait_bytes, self.portrait_pixels, self.frame_bytes, self.frame_pixels)
        if min(*numbers, self.frames_s, self.hello_s, self.idle_s) <= 0:
            raise ConfigError("every limit of live mode must be positive")

    @property
    def message_bytes(self) -> int:
        """The largest message that can be right."""
        return max(self.portrait_bytes, self.frame_bytes) + HEADER_BYTES


HEADER_BYTES = 4096
"""Of the JSON that stands before a picture, and of messages without one."""


class Pace:
    """Lets ``rate`` events a second pass, in bursts of a second's worth."""

    def __init__(self, rate: float) -> None:
        self._rate, self._left, self._last = rate, rate, 0.0

    def allows(self, seconds: float) -> bool:
        """Whether one more may pass at ``seconds`` of a steady clock."""
        self._left = min(self._rate, self._left + (seconds - self._last) * self._rate)
        self._last = seconds
        if self._left < 1:
            return False
        self._left -= 1
        return True
