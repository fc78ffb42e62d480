"""The crop preview: a photograph with every face boxed and numbered, and the crops that will be animated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from synhead.faces.analyzer import FaceBox
from synhead.faces.crops import Crop
from synhead.types import NDArray

_FACE = (255, 196, 0)
_CROP = (0, 224, 96)
_INK = (0, 0, 0)


def draw_preview(
    image: UInt8[NDArray[np.uint8], "h w 3"], faces: Sequence[FaceBox], crops: Sequence[Crop]
) -> UInt8[NDArray[np.uint8], "h w 3"]:
    """A copy with faces (numbered from left to right) in yellow and crops in green; crops may reach outside."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    unit = max(picture.size) / 400
    line = max(1, round(unit))
    font = ImageFont.load_default(size=max(10, round(12 * unit)))
    for number, face in enumerate(faces):
        box = face.box
        pen.rectangle((box.left, box.top, box.right, box.bottom), outline=_FACE, width=line)
        place = (box.left + 2 * line, box.top + 2 * line)
        pen.rectangle(pen.textbbox(place, str(number), font=font), fill=_FACE)
        pen.text(place, str(number), font=font, fill=_INK)
    for crop in crops:
        corners = [(x, y) for x, y in crop.corners().tolist()]
        pen.line([*corners, corners[0]], fill=_CROP, width=2 * line)
    return np.asarray(picture)
