"""Whoever drives: a video whose keypoints are found as it plays, or a motion template that has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from synhead.data.image import RgbImage
from synhead.data.prefetch import prefetch
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.footage import Footage, Shown
from synhead.inference.template import MotionTemplate
from synhead.types import Keypoints


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


class VideoDriver:
    """A video, read ahead by a thread that ends with ``stack``.

    ``rate``: frames a second. ``time_base``: seconds a timestamp unit. ``expected``: frames, as far as known.
    ``shows``: whether there are pictures.
    """

    shows = True

    def __init__(self, footage: Footage, stack: ExitStack) -> None:
        self.footage, self._stack = footage, stack
        self.rate, self.time_base, self.expected = footage.info.rate, footage.info.time_base, footage.info.frames

    def moves(self, animator: Animator, clock: Clock) -> Iterator[Moves]:
        """All of the motion, in batches, once."""
        pending: deque[Move] = deque()

        def squares() -> Iterator[RgbImage]:
            frames = self._stack.enter_context(closing(prefetch(self.footage, 2 * animator.options.batch_size)))
            for shown in timed(frames, clock):
                pending.append(Move(shown.squares[0], shown.time, shown.duration))
                yield shown.squares[0]

        for keypoints in animator.track(squares()):
            yield Moves(keypoints, tuple(pending.popleft() for _ in range(keypoints.position.shape[0])))

    def frame(self, index: int, animator: Animator) -> Keypoints:
        """The keypoints of one frame. Raises MediaError if there is none of that index."""
        return next(animator.track([self.footage.square_of(index)]))


class TemplateDriver:
    """A recorded motion; as VideoDriver."""

    shows = False

    def __init__(self, template: MotionTemplate) -> None:
        self.template = template
        self.rate, self.time_base, self.expected = template.rate, template.time_base, len(template)

    def moves(self, animator: Animator, clock: Clock) -> Iterator[Moves]:
        """All of the motion, in batches, once."""
        del clock
        times = zip(self.template.times, self.template.durations, strict=True)
        for keypoints in self.template.motion(animator.options.batch_size, device=animator.device):
            batch = islice(times, keypoints.position.shape[0])
            yield Moves(keypoints, tuple(Move(None, time, duration) for time, duration in batch))

    def frame(self, index: int, animator: Animator) -> Keypoints:
        """The keypoints of one frame. Raises TemplateError if there is none of that index."""
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
