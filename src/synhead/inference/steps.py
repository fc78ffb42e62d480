"""The frames of an animation, lazily: a photograph follows a driver, or each frame of a video does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import tee
from typing import Literal

from synhead.data.image import RgbImage
from synhead.inference.animator import Animator
from synhead.inference.composition import Step
from synhead.inference.drivers import Move, Moves
from synhead.inference.footage import Footage, Shown
from synhead.inference.keypoint_stream import frames_of
from synhead.inference.smoothing import smooth
from synhead.inference.sources import Photo
from synhead.types import Keypoints


def photo_steps(animator: Animator, photo: Photo, driving: Iterable[Moves], origin: Keypoints | None) -> Iterator[Step]:
    """Every face of a photograph moves as the one driver does: his keypoints are found once for all of them."""
    shown: deque[Move] = deque()
    motion = tee(_keypoints(driving, shown), len(photo.squares))
    streams = [
        observer.follow(batches, reference=origin)
        for observer, batches in zip(_observers(animator, photo.squares), motion, strict=True)
    ]
    for animated in zip(*streams, strict=True):
        move = shown.popleft()
        yield Step(animated, photo.squares, photo.framed.crops, photo.image, move.square, move.time, move.duration)


@dataclass(frozen=True, slots=True)
class _Moment:
    """The driver's keypoints and square from ``begin`` to ``end``, in seconds since his first frame at ``origin``."""

    origin: Fraction
    begin: Fraction
    end: Fraction
    keypoints: Keypoints
    square: RgbImage | None


def footage_steps(
    animator: Animator,
    source: Footage,
    frames: Iterable[Shown],
    driving: Iterable[Moves],
    origin: Keypoints | None,
    *,
    clock_of: Literal["source", "driver"],
) -> Iterator[Step]:
    """Every frame of the source is observed anew, and follows the driver's frame of that moment.

    In relative motion the driver's movements are thus added to those of the source. The result has the frames and
    distances in time of the source, on the clock of the file whose sound is kept, and ends with the shorter of the two.
    """
    moments = _moments(animator, driving)
    animator = _without_smoothing(animator)
    current, following = next(moments, None), next(moments, None)
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
        crops = source.crops(shown.index)
        time = shown.time if clock_of == "source" else moment + current.origin
        yield Step(animated, shown.squares, crops, shown.picture, current.square, time, shown.duration)


def _moments(animator: Animator, driving: Iterable[Moves]) -> Iterator[_Moment]:
    """The driver frame by frame, smoothed as the animator would do it."""
    shown: deque[Move] = deque()
    motion = _keypoints(driving, shown)
    smoothing = animator.options.edits.smoothing
    first: Fraction | None = None
    for keypoints in frames_of(motion) if smoothing is None else smooth(motion, smoothing):
        move = shown.popleft()
        first = move.time if first is None else first
        begin = move.time - first
        yield _Moment(first, begin, begin + move.duration, keypoints, move.square)


def _keypoints(driving: Iterable[Moves], shown: deque[Move]) -> Iterator[Keypoints]:
    """The motion alone; what else belongs to its frames waits in ``shown`` until the model is done with them."""
    for moves in driving:
        shown.extend(moves.frames)
        yield moves.keypoints


def _without_smoothing(animator: Animator) -> Animator:
    plain = copy(animator)
    plain.options = replace(animator.options, edits=replace(animator.options.edits, smoothing=None))
    return plain


def _observers(animator: Animator, squares: Sequence[RgbImage]) -> Iterator[Animator]:
    """An animator for each face, all with the same model."""
    for square in squares:
        observer = copy(animator)
        observer.observe(square)
        yield observer
