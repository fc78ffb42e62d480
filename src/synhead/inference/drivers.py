"""Whoever drives: a video whose keypoints are found as it plays, or a motion template that has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from synhead.data.image import RgbImage
from synhead.data.prefetch import prefetch
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.footage import Footage, Shown
from synhead.inference.template import MotionTemplate
from synhead.types import Keypoints

__all__ = ["Driver", "Move", "Moves", "TemplateDriver", "VideoDriver", "timed"]


@dataclass(frozen=True, slots=True)
class Move:
    """When a driving frame is shown, and the square the model saw, if it saw one."""

    square: RgbImage | None
    time: Fraction
    duration: Fraction


@dataclass(frozen=True, slots=True)
class Moves:
    """A batch of driving frames with their keypoints."""

    keypoints: Keypoints
    frames: tuple[Move, ...]


class Driver(Protocol):
    """Motion with its times."""

    @property
    def rate(self) -> Fraction:
        """Frames a second."""

    @property
    def time_base(self) -> Fraction:
        """Seconds a timestamp unit."""

    @property
    def expected(self) -> int | None:
        """Frames, as far as known."""

    @property
    def shows(self) -> bool:
        """Whether there are pictures."""

    def moves(self, animator: Animator, clock: Clock) -> Iterator[Moves]:
        """All of the motion, in batches, once."""

    def frame(self, index: int, animator: Animator) -> Keypoints:
        """The keypoints of one frame. Raises MediaError or TemplateError if there is none of that index."""


class VideoDriver:
    """A video, read ahead by a thread that ends with ``stack``."""

    def __init__(self, footage: Footage, stack: ExitStack) -> None:
        self.footage, self._stack = footage, stack

    @property
    def rate(self) -> Fraction:
        """See Driver."""
        return self.footage.info.rate

    @property
    def time_base(self) -> Fraction:
        """See Driver."""
        return self.footage.info.time_base

    @property
    def expected(self) -> int | None:
        """See Driver."""
        return self.footage.info.frames

    @property
    def shows(self) -> bool:
        """See Driver."""
        return True

    def moves(self, animator: Animator, clock: Clock) -> Iterator[Moves]:
        """See Driver."""
        pending: deque[Move] = deque()

        def squares() -> Iterator[RgbImage]:
            frames = self._stack.enter_context(closing(prefetch(self.footage, 2 * animator.options.batch_size)))
            for shown in timed(frames, clock):
                pending.append(Move(shown.squares[0], shown.time, shown.duration))
                yield shown.squares[0]

        for keypoints in animator.track(squares()):
            yield Moves(keypoints, tuple(pending.popleft() for _ in range(keypoints.position.shape[0])))

    def frame(self, index: int, animator: Animator) -> Keypoints:
        """See Driver."""
        return next(animator.track([self.footage.square_of(index)]))


class TemplateDriver:
    """A recorded motion."""

    def __init__(self, template: MotionTemplate) -> None:
        self.template = template

    @property
    def rate(self) -> Fraction:
        """See Driver."""
        return self.template.rate

    @property
    def time_base(self) -> Fraction:
        """See Driver."""
        return self.template.time_base

    @property
    def expected(self) -> int | None:
        """See Driver."""
        return len(self.template)

    @property
    def shows(self) -> bool:
        """See Driver."""
        return False

    def moves(self, animator: Animator, clock: Clock) -> Iterator[Moves]:
        """See Driver."""
        del clock
        for batch in self.template.stream(animator.options.batch_size, device=animator.device):
            times = zip(batch.times, batch.durations, strict=True)
            yield Moves(batch.keypoints, tuple(Move(None, time, duration) for time, duration in times))

    def frame(self, index: int, animator: Animator) -> Keypoints:
        """See Driver."""
        return self.template.frame(index, device=animator.device)


def timed(frames: Iterable[Shown], clock: Clock) -> Iterator[Shown]:
    """The same frames; waiting for them is not the model's time."""
    remaining = iter(frames)
    while True:
        with clock.stage("waiting"):
            shown = next(remaining, None)
        if shown is None:
            return
        yield shown
