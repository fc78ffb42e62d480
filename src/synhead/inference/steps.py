"""The frames of an animation, lazily: a photograph follows a driver, or each frame of a video does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from itertools import tee

from synhead.data.image import RgbImage
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.composition import Step
from synhead.inference.footage import Footage, Shown
from synhead.inference.sources import Photo
from synhead.types import Keypoints

__all__ = ["footage_steps", "photo_steps", "timed"]


@dataclass(frozen=True, slots=True)
class _Moment:
    """The driver's keypoints and square from ``begin`` on, in seconds since his first frame; gone at ``end``."""

    begin: Fraction
    end: Fraction
    keypoints: Keypoints
    square: RgbImage


def timed(frames: Iterable[Shown], clock: Clock) -> Iterator[Shown]:
    """The same frames; waiting for them is not the model's time."""
    remaining = iter(frames)
    while True:
        with clock.stage("waiting"):
            shown = next(remaining, None)
        if shown is None:
            return
        yield shown


def photo_steps(
    animator: Animator, photo: Photo, frames: Iterable[Shown], origin: Keypoints | None
) -> Iterator[Step]:
    """Every face of a photograph moves as the one driver does: his keypoints are found once for all of them."""
    pending: deque[Shown] = deque()
    motion = animator.track(_squares(frames, pending))
    streams = [
        observer.follow(batches, reference=origin)
        for observer, batches in zip(
            _observers(animator, photo.squares), tee(motion, len(photo.squares)), strict=True
        )
    ]
    for animated in zip(*streams, strict=True):
        shown = pending.popleft()
        yield Step(
            animated, photo.squares, photo.framed.crops, photo.image, shown.squares[0], shown.time, shown.duration
        )


def footage_steps(
    animator: Animator, source: Footage, frames: Iterable[Shown], driving: Iterable[Shown], origin: Keypoints | None
) -> Iterator[Step]:
    """Every frame of the source is observed anew, and follows the driver's frame of that moment.

    In relative motion the driver's movements are thus added to those of the source. The result has the source's
    timestamps, and ends with the shorter of the two.
    """
    moments = _moments(animator, driving)
    current = next(moments, None)
    following = next(moments, None)
    begin: Fraction | None = None
    for shown in frames:
        begin = shown.time if begin is None else begin
        moment = shown.time - begin
        while current and following and following.begin <= moment:
            current, following = following, next(moments, None)
        if current is None or (following is None and moment >= current.end):
            return
        origin = origin or current.keypoints
        animated = tuple(
            next(observer.follow([current.keypoints], reference=origin))
            for observer in _observers(animator, shown.squares)
        )
        crops = tuple(path.at(shown.index) for path in source.framed.paths)
        yield Step(animated, shown.squares, crops, shown.picture, current.square, shown.time, shown.duration)


def _moments(animator: Animator, frames: Iterable[Shown]) -> Iterator[_Moment]:
    pending: deque[Shown] = deque()
    first: Fraction | None = None
    for batch in animator.track(_squares(frames, pending)):
        for index in range(batch.position.shape[0]):
            shown = pending.popleft()
            first = shown.time if first is None else first
            keypoints = Keypoints(
                position=batch.position[index : index + 1], jacobian=batch.jacobian[index : index + 1]
            )
            begin = shown.time - first
            yield _Moment(begin, begin + shown.duration, keypoints, shown.squares[0])


def _squares(frames: Iterable[Shown], pending: deque[Shown]) -> Iterator[RgbImage]:
    """What the model looks at; frames are kept aside until it is done with them."""
    for shown in frames:
        pending.append(shown)
        yield shown.squares[0]


def _observers(animator: Animator, squares: Sequence[RgbImage]) -> Iterator[Animator]:
    """An animator for each face, all with the same model."""
    for square in squares:
        observer = copy(animator)
        observer.observe(square)
        yield observer
