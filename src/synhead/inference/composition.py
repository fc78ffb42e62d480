"""From animated squares to the pictures of the output: pasted back into the source, or in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from synhead.data.image import RgbImage
from synhead.faces.crops import Crop
from synhead.faces.paste import paste
from synhead.inference.sources import reduced, reduction

__all__ = ["Composition", "Layout", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """A frame of the result before it is put together: for each face its animated square, the same square of the
    source, and its crop; the source's whole picture; the driver's square, where there is one; and when it is shown.
    """

    animated: tuple[RgbImage, ...]
    originals: tuple[RgbImage, ...]
    crops: tuple[Crop, ...]
    picture: RgbImage
    driving: RgbImage | None
    time: Fraction
    duration: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """``pasted``: into the source, no side longer than ``max_side``. Else squares in a row; with ``side_by_side``
    those of the source and the driver come first.
    """

    pasted: bool
    max_side: int | None = None
    side_by_side: bool = False


class Composition:
    """Puts frames together. A photograph is reduced once."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: RgbImage | None = None
        self._ground: RgbImage | None = None

    def size(self, source: tuple[int, int], faces: int, square: int, *, driver: bool) -> tuple[int, int]:
        """(width, height) of the output for a source of that size."""
        if self._layout.pasted:
            factor = reduction(*source, self._layout.max_side)
            return max(1, round(source[0] * factor)), max(1, round(source[1] * factor))
        count = 2 * faces + int(driver) if self._layout.side_by_side else faces
        return count * square, square

    def compose(self, step: Step) -> RgbImage:
        """The picture of one frame."""
        if self._layout.pasted:
            return self._paste(step)
        row: Sequence[RgbImage] = step.animated
        if self._layout.side_by_side:
            row = [*step.originals, *([] if step.driving is None else [step.driving]), *step.animated]
        return row[0] if len(row) == 1 else np.concatenate(row, axis=1)

    def _paste(self, step: Step) -> RgbImage:
        if self._ground is None or step.picture is not self._seen:
            self._seen, self._ground = step.picture, reduced(step.picture, self._layout.max_side)
        picture = self._ground.copy()
        factor = reduction(step.picture.shape[1], step.picture.shape[0], self._layout.max_side)
        for animated, original, crop in zip(step.animated, step.originals, step.crops, strict=True):
            paste(picture, animated, original, crop.scaled(factor))
        return picture
