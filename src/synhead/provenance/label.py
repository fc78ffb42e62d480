"""The visible label: a few small words in a corner, legible on any picture."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from synhead.provenance.errors import ProvenanceError
from synhead.types import NDArray

DEFAULT_TEXT = "AI-generated"
LEAST_TEXT_PX = 9
_HEIGHT_SHARE = 0.045
_WIDTH_SHARE = 0.9
_PLATE, _INK = (0, 0, 0, 170), (255, 255, 255, 255)


class Label:
    """``text`` in white on a dark plate, in the lower left corner; drawn once, laid over every picture.

    Args:
        text: one line.
        size: (width, height) of the pictures, in pixels.

    Raises:
        ProvenanceError: if the text is empty or too long for the width.
    """

    def __init__(self, text: str, size: tuple[int, int]) -> None:
        self.text = " ".join(text.split())
        self._width, self._height = size
        if not self.text:
            raise ProvenanceError("the label has no text; give some words, or no label")

    def apply(self, image: UInt8[NDArray[np.uint8], "h w 3"]) -> UInt8[NDArray[np.uint8], "h w 3"]:
        """A copy of the picture with the label."""
        height, width = self._plate.shape[:2]
        top, left = self._height - height - self._margin, self._margin
        labelled = image.copy()
        corner = labelled[top : top + height, left : left + width]
        opacity = self._plate[..., 3:].astype(np.float32) / 255
        corner[:] = np.rint(self._plate[..., :3] * opacity + corner * (1 - opacity)).astype(np.uint8)
        return labelled

    @cached_property
    def _margin(self) -> int:
        return max(2, round(min(self._width, self._height) * 0.02))

    @cached_property
    def _plate(self) -> UInt8[NDArray[np.uint8], "h w 4"]:
        wanted = max(LEAST_TEXT_PX, round(min(self._width, self._height) * _HEIGHT_SHARE))
        for text_px in range(wanted, LEAST_TEXT_PX - 1, -1):
            font = ImageFont.load_default(text_px)
            left, top, right, bottom = font.getbbox(self.text)
            border = max(2, text_px // 3)
            width, height = round(right - left) + 2 * border, round(bottom - top) + 2 * border
            if width <= self._width * _WIDTH_SHARE:
                plate = Image.new("RGBA", (width, height), _PLATE)
                ImageDraw.Draw(plate).text((border - left, border - top), self.text, fill=_INK, font=font)
                return np.array(plate, dtype=np.uint8)
        raise ProvenanceError(f"the label {self.text!r} is too long for pictures {self._width} px wide; shorten it")
