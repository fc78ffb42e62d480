"""Putting an animated square back into its picture: colours matched along the seam, faded into what is around it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from synhead.faces.boxes import Box
from synhead.faces.crops import Crop, lay_out
from synhead.types import NDArray

RGB = UInt8[NDArray[np.uint8], "h w 3"]
Square = UInt8[NDArray[np.uint8], "s s 3"]

_COARSE_PX = 32
"""Side of the grid on which the colour correction is estimated: low frequencies only."""
_REACH = 5.0
"""Standard deviation, in cells of that grid, of the blur that spreads differences along the seam and inwards."""
_TOLERANCE = 20.0
"""Levels by which a difference may deviate from the seam's median and still count fully: beyond, the content moved."""
_LARGEST_CORRECTION = 60.0


# Shares of the crop's side.
_FADE, _FADE_BELOW = 0.14, 0.1
"""Over which the square fades into the picture at the top and the sides, and at the bottom, where the chin is near."""
_CORNER = 0.3
"""Radius of the corners, wide so that shoulders, which cross them, fade gently."""


def paste(picture: RGB, square: Square, original: Square, crop: Crop) -> None:
    """Lay an animated square over ``picture``, in place. ``original``: the same crop of the picture as it is.

    What lies outside the picture is left out; a side of the crop on or beyond the picture's edge is not faded.
    """
    height, width = picture.shape[:2]
    rows, columns = covered(crop, width, height)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    place = Box(float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
    mask = seam_mask(len(square), _open_sides(crop, width, height))
    matched = match_colours(square, original, mask)
    over = lay_out(matched, crop, place).astype(np.uint16)
    share = lay_out(mask, crop, place).astype(np.uint16)[..., None]
    under = picture[rows, columns]
    under[...] = (over * share + under * (255 - share) + 127) // 255


@lru_cache(maxsize=16)
def seam_mask(size: int, open_sides: tuple[float, float, float, float]) -> UInt8[NDArray[np.uint8], "{size} {size}"]:
    """How much of the square is shown: 255 inside, falling smoothly to 0 at its border.

    ``open_sides``: for left, top, right and bottom 1 where the picture goes on behind the border, 0 where it ends
    there, so that there is nothing to fade into.
    """
    place = (np.arange(size) + 0.5) / size
    left, top, right, bottom = open_sides
    # a side that is not open is moved out of the way, by more than fade and corner need
    away = _CORNER + _FADE
    x = np.minimum(place + away * (1 - left), 1 - place + away * (1 - right))
    above, below = place + away * (1 - top), 1 - place + away * (1 - bottom)
    y = np.minimum(above, below * (_FADE / _FADE_BELOW))
    # distance from the border of a square with round corners, positive inside
    inset_x, inset_y = np.minimum(x - _CORNER, 0)[None], np.minimum(y - _CORNER, 0)[:, None]
    distance = _CORNER - np.hypot(inset_x, inset_y)
    share = np.clip(distance / _FADE, 0, 1)
    mask: NDArray[np.uint8] = np.rint(255 * share * share * (3 - 2 * share)).astype(np.uint8)
    mask.flags.writeable = False  # it is kept for the next frame
    return mask


def covered(crop: Crop, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of a picture that pasting changes: pixels inside an upright crop, those touched by a tilted one.

    Empty slices if the crop lies outside.
    """
    bounds = crop.bounds()
    begin, end = (math.floor, math.ceil) if crop.tilt else (math.ceil, math.floor)
    left, top = min(width, max(0, begin(bounds.left))), min(height, max(0, begin(bounds.top)))
    right, bottom = max(left, min(width, end(bounds.right))), max(top, min(height, end(bounds.bottom)))
    return slice(top, bottom), slice(left, right)


def match_colours(square: Square, original: Square, mask: UInt8[NDArray[np.uint8], "s s"]) -> Square:
    """The square with the slowly varying difference of colour to the original removed, as measured along the seam.

    Differences larger than a tint explains, where something moved, count little; inwards the correction of the
    nearest seam goes on.
    """
    edge = (255.0 - mask) / 255 + 1e-3 * (mask == 255).any()
    weights = _reduced(edge.astype(np.float32)[..., None])
    difference = _reduced(original.astype(np.float32) - square.astype(np.float32))
    seam = weights[..., 0] > 0.2
    if not seam.any():
        return square
    middle = np.median(difference[seam], axis=0)
    deviation = np.abs(difference - middle).max(axis=-1, keepdims=True)
    weights = np.where(seam[..., None], weights, 0) * np.exp(-((deviation / _TOLERANCE) ** 2))
    spread = _spread(len(weights)).astype(np.float32)
    near = _blurred(weights, spread)
    sums = _blurred(weights * (difference - middle), spread)
    correction = np.clip(middle + sums / (near + 1e-3), -_LARGEST_CORRECTION, _LARGEST_CORRECTION)
    fine = _enlarged(correction.astype(np.float32), len(square))
    matched: NDArray[np.uint8] = np.rint(square + fine).clip(0, 255).astype(np.uint8)
    return matched


def _open_sides(crop: Crop, width: int, height: int) -> tuple[float, float, float, float]:
    """Between 0 and 1 over a twentieth of the side, so that a crop that moves to the edge does not flicker."""
    if crop.tilt:
        return 1.0, 1.0, 1.0, 1.0
    bounds, over = crop.bounds(), crop.side / 20
    room = (bounds.left, bounds.top, width - bounds.right, height - bounds.bottom)
    left, top, right, bottom = (min(1.0, max(0.0, distance / over)) for distance in room)
    return left, top, right, bottom


def _reduced(values: Float[NDArray[Any], "s s c"]) -> Float[NDArray[Any], "n n c"]:
    """Means of the cells of the coarse grid."""
    planes = [
        np.asarray(Image.fromarray(plane).resize((_COARSE_PX, _COARSE_PX), Image.Resampling.BOX))
        for plane in np.moveaxis(values, -1, 0)
    ]
    return np.stack(planes, axis=-1)


def _enlarged(values: Float[NDArray[Any], "n n c"], size: int) -> Float[NDArray[Any], "{size} {size} c"]:
    planes = [
        np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC))
        for plane in np.moveaxis(values, -1, 0)
    ]
    return np.stack(planes, axis=-1)


def _blurred(values: Float[NDArray[Any], "n n c"], spread: Float[NDArray[Any], "n n"]) -> Float[NDArray[Any], "n n c"]:
    planes = spread @ np.moveaxis(values, -1, 0) @ spread.T
    return np.moveaxis(planes, 0, -1)


def _spread(cells: int) -> Float[NDArray[Any], "n n"]:
    place = np.arange(cells)
    return np.exp(-0.5 * ((place[:, None] - place[None]) / _REACH) ** 2)
