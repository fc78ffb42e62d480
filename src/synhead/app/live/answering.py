"""From a JPEG frame to a JPEG of the portrait, with the time each stage took."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from synhead.app.live.errors import LiveError
from synhead.app.live.protocol import FrameMessage, pack
from synhead.app.live.session import LiveSession
from synhead.data.image import MIN_SIDE_PX, RgbImage, encode_image

QUALITY = 85
ENOUGH_PX = 640
"""Frames more than twice as large are reduced as they are decoded: neither detector nor keypoints see finer."""


@dataclass(frozen=True, slots=True)
class Received:
    """A frame, and when it came, in seconds of ``time.perf_counter``."""

    message: FrameMessage
    at: float


@dataclass(frozen=True, slots=True)
class Reply:
    """``stages``: seconds, from when the frame came."""

    message: FrameMessage
    face: bool
    stages: dict[str, float]
    jpeg: bytes

    def pack(self, dropped: int) -> bytes:
        """The message."""
        stages = {name: round(1000 * seconds, 2) for name, seconds in self.stages.items()}
        about = {"number": self.message.number, "time": self.message.time, "face": self.face}
        return pack({**about, "dropped": dropped, "ms": stages}, self.jpeg)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A frame that was no picture; the session goes on."""

    number: int
    error: LiveError


class Answerer:
    """For the one thread that draws. ``mark``: an XMP packet put into every JPEG. ``max_pixels``: of a frame."""

    def __init__(self, session: LiveSession, *, mark: str, max_pixels: int) -> None:
        self._session, self._mark, self._max_pixels = session, mark.encode(), max_pixels
        self._encoded: tuple[RgbImage | None, bytes] = (None, b"")

    def __call__(self, received: Received) -> Reply | Refusal:
        """The portrait in the pose of the frame."""
        begin = time.perf_counter()
        try:
            picture = read_jpeg(received.message.jpeg, self._max_pixels)
        except LiveError as error:
            return Refusal(received.message.number, error)
        decoded = time.perf_counter()
        drawn = self._session.draw(picture, received.at)
        drawn_at = time.perf_counter()
        jpeg = self._encode(drawn.picture)
        stages = {"wait": begin - received.at, "decode": decoded - begin, **asdict(drawn.seconds)}
        return Reply(received.message, drawn.face, {**stages, "encode": time.perf_counter() - drawn_at}, jpeg)

    def _encode(self, picture: RgbImage) -> bytes:
        """A picture that is held is not encoded again."""
        if self._encoded[0] is not picture:
            self._encoded = (picture, encode_image(picture, ".jpg", quality=QUALITY, xmp=self._mark))
        return self._encoded[1]


def read_jpeg(content: bytes, max_pixels: int) -> RgbImage:
    """8-bit RGB, reduced if it is far larger than needed. Raises LiveError."""
    try:
        with Image.open(BytesIO(content), formats=["JPEG"]) as image:
            width, height = image.size
            if min(width, height) < MIN_SIDE_PX or width * height > max_pixels:
                limits = f"{MIN_SIDE_PX} a side at least, {max_pixels} in all at most"
                raise LiveError("bad_frame", f"a frame has {width} x {height} pixels", f"send {limits}")
            image.draft("RGB", (ENOUGH_PX, ENOUGH_PX))
            return np.asarray(image.convert("RGB"))
    except LiveError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise LiveError("bad_frame", "a frame is no whole JPEG", "send frames as JPEG files") from error
