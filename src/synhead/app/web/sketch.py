"""The crop preview: faces and squares of a portrait, as numbers and as a drawing."""

from __future__ import annotations

from base64 import b64encode
from contextlib import ExitStack

import numpy as np
from PIL import Image

from synhead.app.web.schemas import FaceSeen, Preview, SquareSeen
from synhead.data.image import RgbImage, encode_image
from synhead.faces.analyzer import FaceBox
from synhead.faces.boxes import Box
from synhead.faces.crops import Crop
from synhead.faces.framing import FramedPhoto, Framing, frame_photo
from synhead.faces.preview import draw_preview
from synhead.inference.footage import detector_if_there

SHOWN_SIDE_PX = 960
QUALITY = 85


def sketch(image: RgbImage, framing: Framing) -> Preview:
    """What will be animated of the portrait. Raises FaceError where no face is found, or not the chosen one."""
    with ExitStack() as stack:
        detector, note = detector_if_there(stack) if framing.wants_faces else (None, "")
        framed = frame_photo(image, framing, detector)
    height, width = image.shape[:2]
    return Preview(
        width=width,
        height=height,
        faces=tuple(_face(face, chosen=index in framed.chosen) for index, face in enumerate(framed.faces)),
        crops=tuple(SquareSeen(x=crop.x, y=crop.y, side=crop.side, tilt=crop.tilt) for crop in framed.crops),
        note=note or None,
        picture=_drawn(image, framed),
    )


def _face(face: FaceBox, *, chosen: bool) -> FaceSeen:
    box = face.box
    return FaceSeen(left=box.left, top=box.top, right=box.right, bottom=box.bottom, score=face.score, chosen=chosen)


def _drawn(image: RgbImage, framed: FramedPhoto) -> str:
    """Of one size before it is drawn on, so that lines are as wide for all."""
    factor = SHOWN_SIDE_PX / max(image.shape[:2])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    faces = [FaceBox(_scaled(face.box, factor), face.score, face.tilt) for face in framed.faces]
    crops: list[Crop] = [crop.scaled(factor) for crop in framed.crops]
    content = encode_image(draw_preview(small, faces, crops), ".jpg", quality=QUALITY)
    return f"data:image/jpeg;base64,{b64encode(content).decode()}"


def _scaled(box: Box, factor: float) -> Box:
    return Box(box.left * factor, box.top * factor, box.right * factor, box.bottom * factor)
