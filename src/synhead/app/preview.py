"""The crop preview of ``synhead animate --preview``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synhead.data.image import RgbImage
    from synhead.faces.framing import FramedPhoto, Framing

LOOKS = 150


def write_preview(source: Path, framing: Framing, target: Path) -> str:
    """Draw faces and crops over the photograph, or over the first frame of the video that shows what is asked for;
    returns what is to be seen.

    Raises MediaError for paths that cannot be read or written, FaceError where there is no face.
    """
    from synhead.data.errors import MediaError
    from synhead.data.files import check_output
    from synhead.data.image import IMAGE_SUFFIXES, read_image, write_image
    from synhead.faces.preview import draw_preview

    check_output(target, inputs=(source,), suffixes=IMAGE_SUFFIXES)
    try:
        image, framed = _framed(iter([read_image(source)]), framing)
    except MediaError as no_image:
        try:
            image, framed = _framed(_frames(source), framing)
        except MediaError:
            raise no_image from None
    write_image(target, draw_preview(image, framed.faces, framed.crops))
    return f"faces: {len(framed.faces)}, crops: {len(framed.crops)}"


def _framed(images: Iterator[RgbImage], framing: Framing) -> tuple[RgbImage, FramedPhoto]:
    """The first picture that can be framed. Raises FaceError, of the first one, where none can."""
    from synhead.faces.analyzer import FaceError
    from synhead.faces.framing import frame_photo
    from synhead.faces.mediapipe_backend import open_detector

    if not framing.wants_faces:
        image = next(images)
        return image, frame_photo(image, framing, None)
    first: FaceError | None = None
    with closing(open_detector()) as detector:
        for image in images:
            try:
                return image, frame_photo(image, framing, detector)
            except FaceError as error:
                first = first or error
    assert first is not None
    raise first


def _frames(path: Path) -> Iterator[RgbImage]:
    """Those of a video that are looked at, at the rate at which an animation looks for faces."""
    from synhead.data.video import VideoReader
    from synhead.inference.footage import LOOK_EVERY

    with VideoReader(path) as reader:
        for index, picture in enumerate(islice(reader.pictures(), LOOKS * LOOK_EVERY)):
            if index % LOOK_EVERY == 0:
                yield reader.frame(picture).image
