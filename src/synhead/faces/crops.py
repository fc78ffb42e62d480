"""Square crops of any size, place and tilt, and the way back from a crop to its picture.

Coordinates are continuous: pixel i of a row covers [i, i + 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from synhead.faces.boxes import Box, SquareCrop, bounding_box, contains, crop_square, padded_region
from synhead.types import NDArray

LARGEST_PX = 8192
"""A square wider than this, and than its picture, is cut from a smaller copy: its repeated edges would fill memory."""
_COPIED = 8
"""Pixels of that copy for one of the square's."""
_FILTER_ROOM_PX = 4
"""Pixels beyond a crop that resampling filters look at."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A square around (``x``, ``y``), ``side`` wide, in pixels; ``tilt``: degrees by which it is turned clockwise.

    It may reach outside its picture.
    """

    x: float
    y: float
    side: float
    tilt: float = 0.0

    def rounded(self) -> SquareCrop:
        """The nearest upright square of whole pixels."""
        half = self.side / 2
        return SquareCrop(round(self.x - half), round(self.y - half), max(1, round(self.side)))

    def in_whole_pixels(self) -> Crop:
        """That square as a crop, as crops of training clips are."""
        whole = self.rounded()
        return Crop(whole.left + whole.side / 2, whole.top + whole.side / 2, float(whole.side))

    def moved(self, *, scale: float = 1.0, right: float = 0.0, down: float = 0.0) -> Crop:
        """Enlarged about its centre, and shifted by shares of its side along its own axes."""
        shifted = self.along(right=right * self.side, down=down * self.side)
        return replace(shifted, side=max(1.0, self.side * scale))

    def scaled(self, factor: float) -> Crop:
        """The same part of a picture that is ``factor`` times as large."""
        return Crop(self.x * factor, self.y * factor, self.side * factor, self.tilt)

    def inside(self, width: int, height: int) -> Crop:
        """Shifted into a picture of that size, as far as it fits: what is there is better than repeated edges."""
        half = self.side / 2
        x = self.x if self.side > width else min(max(self.x, half), width - half)
        y = self.y if self.side > height else min(max(self.y, half), height - half)
        return replace(self, x=x, y=y)

    def along(self, *, right: float = 0.0, down: float = 0.0) -> Crop:
        """Shifted by pixels along its own axes, which a tilt has turned."""
        dx, dy = (_turn(self.tilt) @ np.array([right, down])).tolist()
        return replace(self, x=self.x + dx, y=self.y + dy)

    def corners(self) -> Float[NDArray[Any], "4 2"]:
        """Upper left, upper right, lower right and lower left corner."""
        square = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]) * self.side / 2
        return np.asarray(square @ _turn(self.tilt).T + (self.x, self.y))

    def bounds(self) -> Box:
        """The upright box around it."""
        return bounding_box(self.corners())


def centred_crop(width: int, height: int) -> Crop:
    """The largest square in the middle of a picture."""
    side = min(width, height)
    return Crop((width - side) // 2 + side / 2, (height - side) // 2 + side / 2, float(side))


def extract(
    image: UInt8[NDArray[np.uint8], "h w 3"], crop: Crop, size: int
) -> UInt8[NDArray[np.uint8], "{size} {size} 3"]:
    """The crop, scaled to ``size`` x ``size``. Outside the picture its edge pixels are repeated.

    An upright crop of whole pixels is cut exactly as training clips are.
    """
    if crop.side > max(LARGEST_PX, min(image.shape[:2])):
        factor = _COPIED * size / crop.side
        image, crop = _reduced(image, factor), crop.scaled(factor)
    left, top = crop.x - crop.side / 2, crop.y - crop.side / 2
    whole = crop.rounded()
    if not crop.tilt and (left, top, crop.side) == (whole.left, whole.top, whole.side):
        return crop_square(image, whole, size)
    region, (x, y) = _surroundings(image, crop)
    picture = Image.fromarray(region)
    if not crop.tilt:
        how = Image.Resampling.LANCZOS if crop.side > size else Image.Resampling.BICUBIC
        return np.asarray(
            picture.resize((size, size), how, box=(left - x, top - y, left - x + crop.side, top - y + crop.side))
        )
    shrink = max(1.0, crop.side / size)  # first to about the scale of the result, so that turning does not alias
    if shrink > 1:
        target = (max(1, round(picture.width / shrink)), max(1, round(picture.height / shrink)))
        picture = picture.resize(target, Image.Resampling.LANCZOS)
    scale = np.array([picture.width / region.shape[1], picture.height / region.shape[0]])
    matrix = _turn(crop.tilt) * (crop.side / size) * scale[:, None]
    origin = (crop.corners()[0] - (x, y)) * scale
    coefficients = (*matrix[0].tolist(), float(origin[0]), *matrix[1].tolist(), float(origin[1]))
    turned = picture.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(turned)


def lay_out(
    patch: UInt8[NDArray[np.uint8], "s s *rgb"], crop: Crop, place: Box
) -> UInt8[NDArray[np.uint8], "_ _ *rgb"]:
    """Inverse of :func:`extract`: the part of the picture's plane at ``place`` (whole pixels), black outside the crop.

    ``patch`` is what the crop shows, of any size; colour or grey.
    """
    width, height = round(place.width), round(place.height)
    picture = Image.fromarray(patch)
    zoom = picture.width / crop.side
    corner = crop.corners()[0]
    if not crop.tilt and contains(crop.bounds(), place):
        how = Image.Resampling.LANCZOS if zoom > 1 else Image.Resampling.BICUBIC
        inside = place.scaled(zoom, left=-corner[0] * zoom, top=-corner[1] * zoom)
        box = (max(0.0, inside.left), max(0.0, inside.top), *np.minimum((inside.right, inside.bottom), picture.size))
        return np.asarray(picture.resize((width, height), how, box=box))
    if crop.side < picture.width:  # first to about the scale of the result, so that nothing aliases
        side = max(1, round(crop.side))
        picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    matrix = _turn(-crop.tilt) * (picture.width / crop.side)
    origin = -matrix @ (corner - (place.left, place.top))
    coefficients = (*matrix[0].tolist(), float(origin[0]), *matrix[1].tolist(), float(origin[1]))
    laid = picture.transform((width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(laid)


def _reduced(image: UInt8[NDArray[np.uint8], "h w 3"], factor: float) -> UInt8[NDArray[np.uint8], "_ _ 3"]:
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _turn(tilt: float) -> Float[NDArray[Any], "2 2"]:
    """Rotation by ``tilt`` degrees, clockwise with y downwards."""
    cosine, sine = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    return np.array([[cosine, -sine], [sine, cosine]])


def _surroundings(
    image: UInt8[NDArray[np.uint8], "h w 3"], crop: Crop
) -> tuple[UInt8[NDArray[np.uint8], "_ _ 3"], tuple[int, int]]:
    """The upright region around a crop, in whole pixels, and where its upper left corner is."""
    room = _FILTER_ROOM_PX * max(1.0, crop.side / 256)
    bounds = crop.bounds()
    left, top = math.floor(bounds.left - room), math.floor(bounds.top - room)
    width, height = math.ceil(bounds.right + room) - left, math.ceil(bounds.bottom + room) - top
    return padded_region(image, left, top, width, height), (left, top)
