"""Animated WebP, which FFmpeg takes for a still: counted here, decoded by Pillow."""

from __future__ import annotations

import logging
import struct
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from synhead.data.errors import MediaError
from synhead.data.image import check_size, opaque_srgb

log = logging.getLogger(__name__)

TICK = Fraction(1, 1000)
LEAST_MS, SHOWN_MS = 10, 100
"""Pictures that last no longer than the one are shown as long as the other, as browsers do."""
MAX_CHUNKS = 1_000_000
_RIFF, _CHUNK = struct.Struct("<4sI4s"), struct.Struct("<4sI")
_EXTENDED, _FRAME = 10, 16


@dataclass(frozen=True, slots=True)
class WebpFacts:
    """``width`` and ``height`` in pixels; how long each picture is shown, in milliseconds."""

    width: int
    height: int
    durations: tuple[int, ...]


class WebpAnimation:
    """The pictures of an animated WebP, once, each with its own duration; transparency lies on white.

    As :class:`synhead.data.track.Track`.
    """

    has_audio = False
    aspect = Fraction(1)
    time_base = TICK
    transfer = 13
    """sRGB's own, by the numbers of ITU-T H.273."""
    transparent = False
    """No longer."""

    def __init__(self, path: Path, facts: WebpFacts) -> None:
        """Raises MediaError for what is damaged, or too small or large."""
        check_size(path, facts.width, facts.height)
        self.path, self.skipped = path, 0
        self._durations = facts.durations
        try:
            self._image = Image.open(path, formats=["WEBP"])
        except Exception as error:  # Pillow's decoders raise many kinds on damaged files
            raise MediaError(f"{path} is damaged ({error}); export or download it again") from error
        self._pictures = self._decode()

    @property
    def rate(self) -> Fraction:
        """Frames a second, on average."""
        return len(self._durations) / (sum(self._durations) * TICK)

    @property
    def frames(self) -> int:
        """As counted."""
        return len(self._durations)

    @property
    def duration_s(self) -> float:
        """Of all pictures."""
        return float(sum(self._durations) * TICK)

    def pictures(self) -> Iterator[VideoFrame]:
        """Those that are left."""
        return self._pictures

    def close(self) -> None:
        """Release the file."""
        self._pictures.close()
        self._image.close()

    def _decode(self) -> Generator[VideoFrame, None, None]:
        profile, moment = self._image.info.get("icc_profile"), 0
        for index, duration in enumerate(self._durations):
            try:
                self._image.seek(index)
                pixels = np.array(opaque_srgb(self._image, profile), dtype=np.uint8)
            except Exception as error:  # as above; nothing can be decoded behind it
                self.skipped += len(self._durations) - index
                log.warning("%s: the rest is damaged (%s)", self.path, error)
                return
            picture = VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = moment, TICK
            with suppress(AttributeError):  # older versions of PyAV only tell it
                picture.duration = duration
            yield picture
            moment += duration


def webp_facts(path: Path) -> WebpFacts | None:
    """Of an animated WebP, from its headers alone; None for any other file, stills too."""
    with path.open("rb") as file:
        start = file.read(_RIFF.size)
        if len(start) < _RIFF.size or start[:4] != b"RIFF" or start[8:] != b"WEBP":
            return None
        size: tuple[int, int] | None = None
        durations = []
        for _ in range(MAX_CHUNKS):
            if len(head := file.read(_CHUNK.size)) < _CHUNK.size:
                break
            name, length = _CHUNK.unpack(head)
            known = file.read(min(length, _FRAME))
            if name == b"VP8X" and len(known) >= _EXTENDED:
                size = _three_bytes(known, 4) + 1, _three_bytes(known, 7) + 1
            elif name == b"ANMF" and len(known) == _FRAME:
                shown = _three_bytes(known, 12)
                durations.append(shown if shown > LEAST_MS else SHOWN_MS)
            file.seek(length + length % 2 - len(known), 1)
    return WebpFacts(*size, tuple(durations)) if size and durations else None


def _three_bytes(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 3], "little")
