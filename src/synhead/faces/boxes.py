"""Boxes in pixels, and the square crops of whole pixels that training clips have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from synhead.types import NDArray


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in pixels of its picture; right and bottom are exclusive. It may reach outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Pixels from left to right, never negative."""
        return max(0.0, self.right - self.left)

    @property
    def height(self) -> float:
        """Pixels from top to bottom, never negative."""
        return max(0.0, self.bottom - self.top)

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def grown(self, *, left: float = 0.0, top: float = 0.0, right: float = 0.0, bottom: float = 0.0) -> Box:
        """Enlarged by these shares of its width and height."""
        w, h = self.width, self.height
        return Box(self.left - left * w, self.top - top * h, self.right + right * w, self.bottom + bottom * h)

    def scaled(self, factor: float, *, left: float = 0.0, top: float = 0.0) -> Box:
        """In a picture ``factor`` times as large, whose upper left corner then lies at (left, top)."""
        return Box(
            self.left * factor + left, self.top * factor + top, self.right * factor + left, self.bottom * factor + top
        )

    def between(self, other: Box, share: float) -> Box:
        """Linear interpolation: this box at 0, ``other`` at 1."""
        near, far = 1 - share, share
        return Box(
            near * self.left + far * other.left,
            near * self.top + far * other.top,
            near * self.right + far * other.right,
            near * self.bottom + far * other.bottom,
        )


@dataclass(frozen=True, slots=True)
class SquareCrop:
    """A square of whole pixels, ``side`` wide, whose upper left corner is (left, top). It may reach outside."""

    left: int
    top: int
    side: int


def whole_picture(width: int, height: int) -> Box:
    """The box of a picture of that size."""
    return Box(0.0, 0.0, float(width), float(height))


def contains(outer: Box, inner: Box) -> bool:
    """Whether no part of ``inner`` lies outside ``outer``."""
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and outer.right >= inner.right
        and outer.bottom >= inner.bottom
    )


def bounding_box(points_px: Float[NDArray[Any], "n 2"]) -> Box:
    """The smallest box around points."""
    (left, top), (right, bottom) = points_px.min(axis=0), points_px.max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def intersection_over_union(first: Box, second: Box) -> float:
    """Shared area over covered area, in [0, 1]."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    shared = max(0.0, width) * max(0.0, height)
    covered = first.area + second.area - shared
    return shared / covered if covered > 0 else 0.0


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box around all of them; ``boxes`` must not be empty."""
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def crop_square(
    image: UInt8[NDArray[np.uint8], "h w 3"], crop: SquareCrop, size: int
) -> UInt8[NDArray[np.uint8], "{size} {size} 3"]:
    """The crop, scaled to ``size`` x ``size``. Outside the picture its edge pixels are repeated."""
    square = padded_region(image, crop.left, crop.top, crop.side, crop.side)
    if crop.side == size:
        return np.ascontiguousarray(square)
    how = Image.Resampling.LANCZOS if crop.side > size else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(square).resize((size, size), how))


def padded_region(
    image: UInt8[NDArray[np.uint8], "h w 3"], left: int, top: int, width: int, height: int
) -> UInt8[NDArray[np.uint8], "{height} {width} 3"]:
    """Part of a picture; a view where it lies inside, else with the picture's edge pixels repeated."""
    rows, columns = image.shape[:2]
    if left >= 0 and top >= 0 and left + width <= columns and top + height <= rows:
        return image[top : top + height, left : left + width]
    across = np.clip(np.arange(left, left + width), 0, columns - 1)
    down = np.clip(np.arange(top, top + height), 0, rows - 1)
    return image[down[:, None], across[None]]
