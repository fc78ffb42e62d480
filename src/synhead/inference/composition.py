"""From animated squares to the pictures of the output: pasted back into the source, or in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from synhead.data.image import RgbImage
from synhead.faces.crops import Crop
from synhead.faces.paste import covered, paste
from synhead.inference.sources import reduced, reduction
from synhead.provenance.label import Label


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
    those of the source and the driver come first. ``label``: in a corner, words, or None.
    """

    pasted: bool
    max_side: int | None = None
    side_by_side: bool = False
    label: str | None = None


class Composition:
    """Puts frames of one ``size`` (width, height) together. A photograph is reduced once.

    Raises ProvenanceError for a label that does not fit.
    """

    def __init__(self, layout: Layout, size: tuple[int, int]) -> None:
        self.size = size
        self._layout = layout
        self._label = None if layout.label is None else Label(layout.label, size)
        self._seen: RgbImage | None = None
        self._ground: RgbImage | None = None
        self._canvas: RgbImage | None = None

    def compose(self, step: Step) -> RgbImage:
        """The picture of one frame; it is overwritten with the next one."""
        picture = self._paste(step) if self._layout.pasted else self._row(step)
        return picture if self._label is None else self._label.apply(picture)

    def _row(self, step: Step) -> RgbImage:
        row: Sequence[RgbImage] = step.animated
        if self._layout.side_by_side:
            row = [*step.originals, *([] if step.driving is None else [step.driving]), *step.animated]
        return row[0] if len(row) == 1 else np.concatenate(row, axis=1)

    def _paste(self, step: Step) -> RgbImage:
        """Only what the squares cover changes from frame to frame of a photograph; the rest is not copied again."""
        if self._ground is None or self._canvas is None or step.picture is not self._seen:
            self._seen, self._ground = step.picture, reduced(step.picture, self._layout.max_side)
            self._canvas = self._ground.copy()
        factor = reduction(step.picture.shape[1], step.picture.shape[0], self._layout.max_side)
        crops = [crop.scaled(factor) for crop in step.crops]
        for crop in crops:
            place = covered(crop, *self.size)
            self._canvas[place] = self._ground[place]
        for animated, original, crop in zip(step.animated, step.originals, crops, strict=True):
            paste(self._canvas, animated, original, crop)
        return self._canvas
