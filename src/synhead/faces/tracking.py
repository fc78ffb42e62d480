"""Face tracks of a fixed camera crop, as in the first-order model's VoxCeleb preprocessing.

A track goes on as long as a detection overlaps its *first* box enough; a face that wanders off starts a new one, so
that one fixed crop fits each track.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from synhead.faces.analyzer import FaceBox
from synhead.faces.boxes import Box, SquareCrop, intersection_over_union, union
from synhead.faces.crops import Crop
from synhead.types import NDArray

_ABOVE, _BELOW, _BESIDE = 0.33, 0.145, 0.145
"""Room around the union of face boxes (hairline to chin) as shares of its height; beside it at least so much."""

_MOVING = 1.2
"""Side of a training crop over that of one that fits a single frame of it: median of 32 clips (1.03 to 1.45)."""

_SAME_FACE = 0.1

Place = Float[NDArray[Any], " 3"]


@dataclass(slots=True)
class Track:
    """Boxes of one face at growing frame indices."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)

    def at(self, frame: int) -> Box:
        """The box at any frame: interpolated between detections, that of the nearest one beyond them."""
        after = bisect_right(self.frames, frame)
        if after == 0 or after == len(self.frames):
            return self.boxes[min(after, len(self.frames) - 1)]
        before = after - 1
        share = (frame - self.frames[before]) / (self.frames[after] - self.frames[before])
        return self.boxes[before].between(self.boxes[after], share)

    def between(self, first: int, last: int) -> list[Box]:
        """Boxes at both frames and of all detections between them."""
        inner = [box for frame, box in zip(self.frames, self.boxes, strict=True) if first < frame < last]
        return [self.at(first), *inner, self.at(last)]


class Tracker:
    """Joins the detections of successive frames into tracks; memory grows with detections, not with frames."""

    def __init__(self, min_overlap: float = 0.25) -> None:
        self._min_overlap = min_overlap
        self._open: list[Track] = []
        self._ended: list[Track] = []

    def add(self, frame: int, boxes: Sequence[Box]) -> None:
        """Detections of one frame. Tracks without an overlapping one end at their last detection."""
        free = list(boxes)
        going_on: list[Track] = []
        for track in self._open:
            overlaps = [intersection_over_union(track.boxes[0], box) for box in free]
            best = max(range(len(free)), key=overlaps.__getitem__, default=None)
            if best is None or overlaps[best] < self._min_overlap:
                self._ended.append(track)
                continue
            track.frames.append(frame)
            track.boxes.append(free.pop(best))
            going_on.append(track)
        self._open = going_on + [Track([frame], [box]) for box in free]

    def cut(self) -> None:
        """The scene changes: all tracks end."""
        self._ended += self._open
        self._open = []

    def finish(self) -> list[Track]:
        """All tracks, in the order of their first frames."""
        self.cut()
        return sorted(self._ended, key=lambda track: (track.frames[0], track.boxes[0].left))


def crop_around(boxes: Sequence[Box]) -> Crop:
    """One square for all boxes, with the room around a face that the VoxCeleb crops have. May reach outside."""
    whole = union(boxes)
    tall = whole.grown(top=_ABOVE, bottom=_BELOW)
    side = max(tall.height, whole.width + 2 * _BESIDE * whole.height)
    return Crop(whole.centre[0], tall.centre[1], side)


def crop_for(box: Box) -> Crop:
    """The crop for a face seen once: as large about it as training crops are, which fit a head that moves."""
    return crop_around([box]).moved(scale=_MOVING)


def same_face(faces: Sequence[FaceBox], last: Box) -> Box | None:
    """The face that overlaps most with where the followed one was last, if one does."""
    best = max((face.box for face in faces), key=lambda box: intersection_over_union(box, last), default=None)
    return best if best is not None and intersection_over_union(best, last) >= _SAME_FACE else None


def held_still(held: Place, target: Place, still: float, still_size: float) -> Place:
    """A crop (centre x, y and side) that goes after ``target`` only as far as it leaves a dead zone, given in shares
    of the side: by ``still`` its centre may be off, by ``still_size`` its size.
    """
    room = np.array([still, still, still_size]) * held[2]
    return target + np.clip(held - target, -room, room)


def square_crop(boxes: Sequence[Box]) -> SquareCrop:
    """:func:`crop_around` in whole pixels: the crop of a training clip."""
    return crop_around(boxes).rounded()
