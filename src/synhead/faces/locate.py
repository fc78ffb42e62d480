"""Faces of one photograph, also those too small for a detector that sees 192 pixels of the whole picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from synhead.faces.analyzer import FaceBox, FaceDetector
from synhead.faces.boxes import Box, intersection_over_union
from synhead.faces.selection import left_to_right
from synhead.types import NDArray

RGB = UInt8[NDArray[np.uint8], "_ _ 3"]

_LOOK_PX = 640
"""Side to which a picture is reduced before the detector sees it: what is finer it would not use."""
_DIVISIONS = (2, 4)
"""Tiles of a half and a quarter of the shorter side, overlapping by half; the finer ones only if no face is found."""
_WORTH_TILES_PX = 400
_SAME_FACE = 0.3
_FILLS = 0.3
"""Share of the shorter side from which on a face may be too large for the detector; smaller ones it places badly."""
_ROOM = 1.0
"""Around a face of a tile, so many of its sizes on each side are looked at again for an exact box."""
_SURE = 0.6
"""Tiles show many patches that look like faces a little: there the detector must be this sure at the second look."""


def locate_faces(image: RGB, detector: FaceDetector) -> tuple[FaceBox, ...]:
    """All faces, from left to right; empty if there is none."""
    height, width = image.shape[:2]
    found = list(look_at(image, detector))
    for division in _DIVISIONS:
        side = min(height, width) // division
        if side < _WORTH_TILES_PX or (found and division > _DIVISIONS[0]):
            break
        for tile in _tiles(width, height, side):
            for candidate in _look(image, tile, detector):
                if not _known(candidate, found):
                    found += _confirmed(image, candidate, detector, found)
    return left_to_right(found)


def look_at(image: RGB, detector: FaceDetector) -> tuple[FaceBox, ...]:
    """Faces that are large enough in the whole picture, from left to right.

    The detector misses some that fill the picture, as in clips that are cropped already: where it sees none, it looks
    again at the picture with a margin, in which they are smaller.
    """
    small, factor = thumbnail(image)
    found = tuple(replace(face, box=face.box.scaled(factor)) for face in detector.boxes(small))
    if not found:
        small, further = thumbnail(small, _LOOK_PX // 2)  # with its margin it is as large as before
        margin = max(small.shape[:2]) // 2
        padded = np.pad(small, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        factor *= further
        shift = -float(margin) * factor
        found = tuple(
            replace(face, box=face.box.scaled(factor, left=shift, top=shift))
            for face in detector.boxes(padded)
            if face.box.width >= _FILLS * min(small.shape[:2])
        )
    return left_to_right(found)


def thumbnail(image: RGB, limit: int = _LOOK_PX) -> tuple[RGB, float]:
    """The picture with no side longer than ``limit``, and the factor by which it was reduced (1: as it is)."""
    height, width = image.shape[:2]
    factor = max(width, height) / limit
    if factor <= 1:
        return image, 1.0
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize(size, Image.Resampling.BOX)), factor


def _look(image: RGB, part: Box, detector: FaceDetector) -> Iterator[FaceBox]:
    """Faces that the detector sees in a part (whole pixels) of the picture, in coordinates of the picture."""
    left, top, right, bottom = (round(edge) for edge in (part.left, part.top, part.right, part.bottom))
    small, factor = thumbnail(image[top:bottom, left:right])
    for face in detector.boxes(small):
        yield replace(face, box=face.box.scaled(factor, left=float(left), top=float(top)))


def _tiles(width: int, height: int, side: int) -> Iterator[Box]:
    """Squares covering the picture, neighbours overlapping by at least half."""
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield Box(float(left), float(top), float(left + side), float(top + side))


def _starts(length: int, side: int) -> list[int]:
    steps = math.ceil((length - side) / (side / 2))
    return [round(i * (length - side) / steps) for i in range(steps + 1)] if steps else [0]


def _confirmed(image: RGB, candidate: FaceBox, detector: FaceDetector, known: Sequence[FaceBox]) -> list[FaceBox]:
    """The candidate as a closer look at its surroundings shows it: at most one face, none if that shows nothing."""
    height, width = image.shape[:2]
    around = candidate.box.grown(left=_ROOM, top=_ROOM, right=_ROOM, bottom=_ROOM)
    part = Box(
        max(0.0, around.left), max(0.0, around.top), min(float(width), around.right), min(float(height), around.bottom)
    )
    if min(part.width, part.height) < 2:
        return []
    seen = [
        face
        for face in _look(image, part, detector)
        if face.score >= _SURE
        and intersection_over_union(face.box, candidate.box) > _SAME_FACE
        and not _known(face, known)
    ]
    return seen[:1]


def _known(face: FaceBox, found: Sequence[FaceBox]) -> bool:
    return any(_overlap(face.box, other.box) > _SAME_FACE for other in found)


def _overlap(first: Box, second: Box) -> float:
    """Shared area over the smaller area: a part of a face seen at a tile's edge is that face."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    smaller = min(first.area, second.area)
    return max(0.0, width) * max(0.0, height) / smaller if smaller > 0 else 0.0
