"""The crop preview of ``synhead animate --preview``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synhead.faces.framing import Framing


def write_preview(source: Path, framing: Framing, target: Path) -> str:
    """Draw faces and crops over the photograph, or over the first frame of the video; returns what is to be seen.

    Raises MediaError for paths that cannot be read or written, FaceError where there is no face.
    """
    from synhead.data.errors import MediaError
    from synhead.data.files import check_output
    from synhead.data.image import IMAGE_SUFFIXES, read_image, write_image
    from synhead.data.video import read_frame
    from synhead.faces.framing import frame_photo
    from synhead.faces.mediapipe_backend import open_detector
    from synhead.faces.preview import draw_preview

    check_output(target, inputs=(source,), suffixes=IMAGE_SUFFIXES)
    try:
        image = read_image(source)
    except MediaError as no_image:
        try:
            image = read_frame(source, 0).image
        except MediaError:
            raise no_image from None
    if framing.wants_faces:
        with closing(open_detector()) as detector:
            framed = frame_photo(image, framing, detector)
    else:
        framed = frame_photo(image, framing, None)
    write_image(target, draw_preview(image, framed.faces, framed.crops))
    return f"faces: {len(framed.faces)}, crops: {len(framed.crops)}"
