"""Streaming decode: upright RGB frames with exact timestamps, one at a time, whatever the length of the video."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
from av.video.frame import VideoFrame

from synhead.data.errors import MediaError
from synhead.data.files import check_input
from synhead.data.frame_colours import FrameColours
from synhead.data.image import Fit, RgbImage, centre, fitted_size
from synhead.data.orientation import orientation
from synhead.data.timeline import Timestamps
from synhead.data.track import Track
from synhead.data.webp_animation import WebpAnimation, webp_facts


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video says of itself. ``width`` and ``height`` as shown: rotated upright, square pixels.

    ``frames``: as declared, or estimated from the duration; None if unknown. ``time_base``: seconds per timestamp unit.
    """

    width: int
    height: int
    rate: Fraction
    frames: int | None
    duration_s: float | None
    has_audio: bool
    time_base: Fraction


@dataclass(frozen=True, slots=True)
class Frame:
    """One upright picture with its presentation time and duration in seconds, on the clock of the file."""

    image: RgbImage
    time: Fraction
    duration: Fraction


def probe(path: Path) -> VideoInfo:
    """Facts about a video, after decoding its first frame. Raises MediaError for anything that is no video."""
    with VideoReader(path) as reader:
        return reader.info


def read_frames(path: Path, *, size: int | None = None, fit: Fit = "crop") -> Iterator[Frame]:
    """All frames, streaming, as squares of ``size`` pixels or as large as they are. Raises MediaError."""
    with VideoReader(path, size=size, fit=fit) as reader:
        yield from reader


def read_frame(path: Path, index: int, *, size: int | None = None, fit: Fit = "crop") -> Frame:
    """The frame of that index, counted from 0 over what can be decoded. Raises MediaError if there is none."""
    count = 0
    with VideoReader(path, size=size, fit=fit) as reader:
        for count, picture in enumerate(reader.pictures()):
            if count == index:
                return reader.frame(picture)
    raise MediaError(f"{path} has no frame {index}; choose one from 0 to {count}")


def check_frame(path: Path, index: int) -> None:
    """MediaError unless there is a frame of that index: quickly by the container's count, else by decoding up to it."""
    with VideoReader(path) as reader:
        if 0 <= index < reader.declared:
            return
    read_frame(path, index)


class VideoReader:
    """Iterates once over the frames of a video. A context manager; ``info`` is known from the start.

    A frame that cannot be decoded is left out: the one before it simply lasts longer. ``seconds``: spent in reading so
    far. With ``size`` each frame is scaled as it is decoded, so full-size pictures are never kept.
    """

    def __init__(self, path: Path, *, size: int | None = None, fit: Fit = "crop") -> None:
        self.path, self.seconds = path, 0.0
        self._size, self._fit = size, fit
        animation = webp_facts(check_input(path))
        self._source = Track(path) if animation is None else WebpAnimation(path, animation)
        try:
            first = next(self._source.pictures(), None)
            if first is None:
                raise MediaError(f"{path} has no frame that can be decoded; export or download it again")
            self._first: VideoFrame | None = first
            self._colours = FrameColours(transfer=self._source.transfer, transparent=self._source.transparent)
            self.info = self._describe(first)
        except BaseException:
            self._source.close()
            raise
        self._timestamps = Timestamps(self.info.time_base, self.info.rate)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def skipped(self) -> int:
        """What could not be decoded so far."""
        return self._source.skipped

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    @property
    def declared(self) -> int:
        """Frames as the container counts them, 0 if it does not (WebM, Matroska)."""
        return self._source.frames or 0

    def __iter__(self) -> Iterator[Frame]:
        pictures = self.pictures()
        while True:
            start = time.perf_counter()
            picture = next(pictures, None)
            frame = None if picture is None else self.frame(picture)
            self.seconds += time.perf_counter() - start
            if frame is None:
                return
            yield frame

    def pictures(self) -> Iterator[VideoFrame]:
        """The decoded frames before conversion, for those who want only some of them."""
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._source.pictures()

    def frame(self, picture: VideoFrame) -> Frame:
        """A decoded frame as upright RGB of the wanted size, with its place in time. Call it in order of time."""
        tick = picture.time_base or self.info.time_base
        duration = self._timestamps.span(picture.duration * tick if picture.duration else None)
        moment = self._timestamps.stamp(None if picture.pts is None else picture.pts * tick)
        return Frame(image=self._convert(picture), time=moment, duration=duration)

    def _describe(self, first: VideoFrame) -> VideoInfo:
        source = self._source
        rate, duration = source.rate, source.duration_s
        width, height = self._upright_size(first)
        return VideoInfo(
            width=width,
            height=height,
            rate=rate,
            frames=source.frames or (None if duration is None else max(1, round(duration * rate))),
            duration_s=duration,
            has_audio=source.has_audio,
            time_base=source.time_base,
        )

    def _shown_size(self, picture: VideoFrame) -> tuple[int, int]:
        """(width, height) with square pixels, before rotation."""
        return max(1, round(picture.width * self._source.aspect)), picture.height

    def _upright_size(self, picture: VideoFrame) -> tuple[int, int]:
        width, height = self._shown_size(picture)
        return (height, width) if orientation(picture).transposed else (width, height)

    def _convert(self, picture: VideoFrame) -> RgbImage:
        turn = orientation(picture)
        width, height = self._shown_size(picture)
        if self._size is None:
            width, height = self._as_large_as_the_first(width, height, transposed=turn.transposed)
        else:
            width, height = fitted_size(width, height, self._size, self._fit)
        shown = self._colours.to_srgb(picture, (width, height))
        pixels = turn.upright(shown)
        if self._size is None:
            return np.ascontiguousarray(_padded(pixels, self.info.width, self.info.height))
        return np.ascontiguousarray(centre(pixels, self._size))

    def _as_large_as_the_first(self, width: int, height: int, *, transposed: bool) -> tuple[int, int]:
        """Video calls change size on the way: later frames are scaled to fit into the first, as players show them."""
        wide, high = (self.info.height, self.info.width) if transposed else (self.info.width, self.info.height)
        factor = min(Fraction(wide, width), Fraction(high, height))
        return max(1, round(width * factor)), max(1, round(height * factor))


def _padded(image: RgbImage, width: int, height: int) -> RgbImage:
    """``image`` in the middle of a black picture of that size, which is no smaller."""
    down, right = height - image.shape[0], width - image.shape[1]
    if not down and not right:
        return image
    return np.pad(image, ((down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0)))
