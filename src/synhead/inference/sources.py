"""The source: a photograph, or a video, with the squares that will be animated."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from synhead.data.errors import MediaError
from synhead.data.image import RgbImage, fit_image, read_image
from synhead.faces.analyzer import FaceDetector
from synhead.faces.boxes import contains, whole_picture
from synhead.faces.crops import Crop, extract
from synhead.faces.framing import FramedPhoto, Framing, frame_photo
from synhead.inference.clock import Clock
from synhead.inference.footage import Footage, Shape, framed_footage

COVERED = 0.05
"""A picture that reaches beyond the crop by less than this share of the crop's side is not larger than it."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph and its squares, one a chosen face."""

    image: RgbImage
    framed: FramedPhoto
    squares: tuple[RgbImage, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.image.shape[:2]
        return width, height

    @property
    def found(self) -> bool:
        """Whether the squares are around faces that were found."""
        return bool(self.framed.faces)

    def crops(self) -> tuple[Crop, ...]:
        """Of the squares."""
        return self.framed.crops


def open_source(
    path: Path, framing: Framing, shape: Shape, detector: FaceDetector | None, clock: Clock, stack: ExitStack
) -> Photo | Footage:
    """What ``path`` holds. Raises MediaError if that is neither a photograph nor a video, FaceError without a face."""
    try:
        image = read_image(path)
    except MediaError as no_image:
        try:
            return framed_footage(path, framing, shape, detector, clock, stack)
        except MediaError:
            raise no_image from None
    with clock.stage("faces"):
        framed = frame_photo(image, framing, detector)
        if framed.faces or framing.adjusts or (shape.whole and framing.crop == "center"):
            squares = tuple(extract(image, crop, shape.size) for crop in framed.crops)
        else:
            squares = (fit_image(image, shape.size, shape.fit),)
    return Photo(image, framed, squares)


def is_larger(width: int, height: int, crop: Crop) -> bool:
    """Whether a picture shows more than a crop of it."""
    room = COVERED
    return not contains(crop.bounds().grown(left=room, top=room, right=room, bottom=room), whole_picture(width, height))


def reduced(image: RgbImage, limit: int | None) -> RgbImage:
    """A picture of one's own to paste into, no side longer than ``limit`` pixels."""
    factor = reduction(image.shape[1], image.shape[0], limit)
    if factor == 1:
        return image.copy()
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def reduction(width: int, height: int, limit: int | None) -> float:
    """The factor, 1 or less, by which sides shrink."""
    return 1.0 if limit is None else min(1.0, limit / max(width, height))
