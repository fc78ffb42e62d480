"""The visible label: a few small words in a corner, legible on any picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, features

from synhead.provenance.errors import ProvenanceError
from synhead.types import NDArray

DEFAULT_TEXT = "AI-generated"
LEAST_TEXT_PX = 9
_HEIGHT_SHARE = 0.045
_WIDTH_SHARE = 0.9
_PLATE, _INK = (0, 0, 0, 170), (255, 255, 255, 255)
_NO_LETTER = "\U0010fffd"
"""A code point that is no letter and never will be: drawn as what a font has in the place of missing ones."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Label:
    """``text`` in white on a dark plate, in the lower left corner; drawn once, laid over every picture.

    Args:
        text: one line.
        size: (width, height) of the pictures, in pixels.

    Raises:
        ProvenanceError: if the text is empty, too long for the width, or has letters that cannot be drawn here.
    """

    def __init__(self, text: str, size: tuple[int, int]) -> None:
        self.text, self._face = _drawable(text)
        self._width, self._height = size
        self._plate  # noqa: B018 - a text that is too long is told before there are pictures

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
            font = _font(self._face, text_px)
            left, top, right, bottom = font.getbbox(self.text)
            border = max(2, text_px // 3)
            width, height = round(right - left) + 2 * border, round(bottom - top) + 2 * border
            if width <= self._width * _WIDTH_SHARE:
                plate = Image.new("RGBA", (width, height), _PLATE)
                ImageDraw.Draw(plate).text((border - left, border - top), self.text, fill=_INK, font=font)
                return np.array(plate, dtype=np.uint8)
        raise ProvenanceError(f"the label {self.text!r} is too long for pictures {self._width} px wide; shorten it")


def check_text(text: str) -> None:
    """Raises ProvenanceError for a label without words, or with letters that no font here has."""
    _drawable(text)


def _drawable(text: str) -> tuple[str, Path | None]:
    """The words in one line, and the font that has all their letters: a file, or None for Pillow's own.

    Raises ProvenanceError.
    """
    words = unicodedata.normalize("NFC", " ".join(text.split()))
    if not words:
        raise ProvenanceError("the label has no text; give some words, or no label")
    lacked: list[list[str]] = []
    for face in _faces():
        lacked.append(_missing(words, face))
        if not lacked[-1]:
            if _font(face, LEAST_TEXT_PX).getmask(words).getbbox() is None:
                raise ProvenanceError(f"nothing of the label {words!r} can be seen; give some words, or no label")
            return words, face
    fewest = min(lacked, key=len)
    raise ProvenanceError(
        f"the label {words!r} has letters that the fonts here lack: {' '.join(fewest)}; write it without them"
    )


def _faces() -> Iterator[Path | None]:
    """Pillow's own font, little more than ASCII; then that of matplotlib, where mediapipe brought it along."""
    yield None
    found = find_spec("matplotlib")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            yield path


def _font(face: Path | None, text_px: int) -> Font:
    return ImageFont.load_default(text_px) if face is None else ImageFont.truetype(face, text_px)


def _missing(words: str, face: Path | None) -> list[str]:
    """The letters of ``words`` that would be drawn as boxes, or in the wrong order, each once."""
    font = _font(face, LEAST_TEXT_PX)
    box = _drawn(font, _NO_LETTER)
    leftwards = features.check("raqm")  # without it Pillow draws from left to right whatever is written
    return [
        letter
        for letter in dict.fromkeys(words)
        if _drawn(font, letter) == box or (unicodedata.bidirectional(letter) in ("R", "AL") and not leftwards)
    ]


def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
