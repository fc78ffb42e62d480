"""Streaming decode: upright RGB frames with exact timestamps, one at a time, whatever the length of the video."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.error
import numpy as np
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from synhead.data.container import AnyPacket, open_media
from synhead.data.errors import MediaError
from synhead.data.image import Fit, RgbImage, centre, check_size, fitted_size
from synhead.data.orientation import orientation
from synhead.data.timeline import Clock

log = logging.getLogger(__name__)

DEFAULT_RATE = Fraction(25)
MAX_DEMUX_ERRORS = 16
UNSPECIFIED_COLOURS = 2
HD_HEIGHT_PX = 720
STILL_BRANDS = frozenset({"avif", "heic", "heim", "heis", "heix", "mif1"})
"""What photographs in MP4's container call themselves, HEIC and AVIF; sequences have other brands."""


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
        if index < reader.declared:
            return
    read_frame(path, index)


class VideoReader:
    """Iterates once over the frames of a video. A context manager; ``info`` is known from the start.

    ``skipped`` counts what could not be decoded so far (the frame before it simply lasts longer), ``seconds`` the time
    spent in reading. With ``size`` each frame is scaled as it is decoded, so full-size pictures are never kept.
    """

    def __init__(self, path: Path, *, size: int | None = None, fit: Fit = "crop") -> None:
        self.path, self.skipped, self.seconds = path, 0, 0.0
        self._size, self._fit = size, fit
        self._reformatter = VideoReformatter()
        self._container = open_media(path)
        try:
            self._stream = self._select_stream()
            self._pictures = self._decode()
            first = next(self._pictures, None)
            if first is None:
                raise MediaError(f"{path} has no frame that can be decoded; export or download it again")
            self._first: VideoFrame | None = first
            self.info = self._describe(first)
        except BaseException:
            self._container.close()
            raise
        self._clock = Clock(self.info.time_base, self.info.rate)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._pictures.close()
        self._container.close()

    @property
    def declared(self) -> int:
        """Frames as the container counts them, 0 if it does not (WebM, Matroska)."""
        return self._stream.frames

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
        yield from self._pictures

    def frame(self, picture: VideoFrame) -> Frame:
        """A decoded frame as upright RGB of the wanted size, with its place in time. Call it in order of time."""
        tick = picture.time_base or self.info.time_base
        duration = self._clock.span(picture.duration * tick if picture.duration else None)
        moment = self._clock.stamp(None if picture.pts is None else picture.pts * tick)
        return Frame(image=self._convert(picture), time=moment, duration=duration)

    def _select_stream(self) -> VideoStream:
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise MediaError(f"{self.path} has no video track; give a video file such as MP4, MOV or WebM")
        stream = streams[0]
        kind = self._container.format.name
        if kind.endswith("_pipe") or kind == "image2" or self._container.metadata.get("major_brand") in STILL_BRANDS:
            raise MediaError(f"{self.path} is a still image; give a video here (are the two inputs swapped?)")
        if stream.codec_context is None:
            raise MediaError(f"{self.path} uses a video codec that cannot be decoded; convert it to H.264")
        check_size(self.path, stream.codec_context.width, stream.codec_context.height)
        stream.thread_type = "AUTO"
        return stream

    def _decode(self) -> Generator[VideoFrame, None, None]:
        for packet in self._demux():
            try:
                pictures = packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError as error:
                self._skip(error)
                continue
            for picture in pictures:
                if picture.is_corrupt:
                    self._skip("marked corrupt by the decoder")
                else:
                    yield picture

    def _demux(self) -> Iterator[AnyPacket]:
        """All packets of the stream, going on after damaged ones until nothing more comes."""
        failures = 0
        while failures < MAX_DEMUX_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    failures = 0 if packet.size else failures
                    yield packet
            except av.error.FFmpegError as error:
                failures += 1
                self._skip(error)
            else:
                return

    def _skip(self, reason: object) -> None:
        self.skipped += 1
        log.warning("%s: skipped a damaged frame (%s)", self.path, reason)

    def _describe(self, first: VideoFrame) -> VideoInfo:
        stream, container = self._stream, self._container
        time_base = stream.time_base or Fraction(1, 90000)
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
        duration = None
        if stream.duration:
            duration = float(stream.duration * time_base)
        elif container.duration:
            duration = container.duration / av.time_base
        width, height = self._upright_size(first)
        return VideoInfo(
            width=width,
            height=height,
            rate=rate,
            frames=stream.frames or (None if duration is None else max(1, round(duration * rate))),
            duration_s=duration,
            has_audio=bool(container.streams.audio),
            time_base=time_base,
        )

    def _shown_size(self, picture: VideoFrame) -> tuple[int, int]:
        """(width, height) with square pixels, before rotation."""
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        return max(1, round(picture.width * aspect)), picture.height

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
        colours = picture.colorspace
        if colours == UNSPECIFIED_COLOURS:
            colours = Colorspace.ITU709 if picture.height >= HD_HEIGHT_PX else Colorspace.ITU601
        rgb = self._reformatter.reformat(
            picture,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=colours,
            interpolation=Interpolation.BILINEAR,
        )
        pixels = turn.upright(rgb.to_ndarray().astype(np.uint8, copy=False))
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
