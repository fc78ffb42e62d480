"""Exact time: repairing the timestamps of a video, and a time base in which they and the frame rate are whole."""

from __future__ import annotations

import math
from fractions import Fraction

MAX_TIMESCALE = 1_000_000
DISCONTINUITY_S = 1


class Timestamps:
    """Turns the timestamps of decoded frames into strictly increasing seconds.

    Timestamps rounded to a coarse unit (Matroska: milliseconds) are put back on the grid of the frame rate, so that
    29.97 frames a second stay 30000/1001. Frames without a timestamp follow the one before at the frame rate, and a
    clock that jumps backwards is carried on from where it was.
    """

    def __init__(self, tick: Fraction, rate: Fraction) -> None:
        self._step = 1 / rate
        self._snap = tick if (self._step / tick).denominator != 1 else Fraction(0)
        self._tick = tick
        self._shift = Fraction(0)
        self._first: Fraction | None = None
        self._last: Fraction | None = None

    def stamp(self, time: Fraction | None) -> Fraction:
        """The time of the next frame, given its timestamp."""
        if self._first is None or self._last is None:
            self._first = self._last = time or Fraction(0)
            return self._first
        following = self._last + self._step
        now = following if time is None else self._snapped(time + self._shift)
        if now <= self._last:
            if self._last - now > DISCONTINUITY_S:
                self._shift += following - now
                now = following
            else:
                now = self._last + min(self._tick, self._step)
        self._last = now
        return now

    def span(self, duration: Fraction | None) -> Fraction:
        """How long a frame lasts: as it says, on the grid of the frame rate, or one frame if it does not say."""
        if not duration or abs(duration - self._step) < self._snap:
            return self._step
        return duration

    def _snapped(self, time: Fraction) -> Fraction:
        if not self._snap or self._first is None:
            return time
        grid = self._first + round((time - self._first) / self._step) * self._step
        return grid if abs(grid - time) < self._snap else time


def common_time_base(rate: Fraction, time_base: Fraction | None) -> Fraction:
    """The longest unit of which both a frame's duration and ``time_base`` are multiples, if containers can hold it."""
    step = 1 / rate
    if time_base is None:
        return step
    both = Fraction(
        math.gcd(step.numerator * time_base.denominator, time_base.numerator * step.denominator),
        step.denominator * time_base.denominator,
    )
    return both if both.denominator <= MAX_TIMESCALE else time_base
