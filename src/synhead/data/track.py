"""The picture track of a media file, decoded by FFmpeg: damaged parts are left out, and counted."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from synhead.data.container import AnyPacket, open_media
from synhead.data.errors import MediaError
from synhead.data.frame_colours import is_transparent, transfer_of
from synhead.data.image import check_size

log = logging.getLogger(__name__)

DEFAULT_RATE = Fraction(25)
DEFAULT_TICK = Fraction(1, 90000)
MAX_DEMUX_ERRORS = 16
STILL_BRANDS = frozenset({"avif", "heic", "heim", "heis", "heix", "mif1"})
"""What photographs in MP4's container call themselves, HEIC and AVIF; sequences have other brands."""
SEQUENCE_BRANDS = frozenset({"avis", "hevc", "msf1"})
"""Of sequences, which may hold a still of themselves as a track of its own, before theirs."""


class Track:
    """The pictures of a media file, once. ``skipped``: how much could not be decoded so far."""

    def __init__(self, path: Path) -> None:
        """Raises MediaError for a file without a video track that can be decoded, and for stills."""
        self.path, self.skipped = path, 0
        self._lead: int | None = None
        self._container = open_media(path)
        try:
            self._stream = self._select()
        except BaseException:
            self._container.close()
            raise
        self._pictures = self._decode()

    @property
    def rate(self) -> Fraction:
        """Frames a second, on average."""
        return self._stream.average_rate or self._stream.guessed_rate or DEFAULT_RATE

    @property
    def time_base(self) -> Fraction:
        """Seconds a timestamp unit."""
        return self._stream.time_base or DEFAULT_TICK

    @property
    def frames(self) -> int | None:
        """As declared."""
        return self._stream.frames or None

    @property
    def duration_s(self) -> float | None:
        """As declared."""
        if self._stream.duration:
            return float(self._stream.duration * self.time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    @property
    def has_audio(self) -> bool:
        """Whether there is a track of sound."""
        return bool(self._container.streams.audio)

    @property
    def aspect(self) -> Fraction:
        """Width of a pixel by its height."""
        return self._stream.sample_aspect_ratio or Fraction(1)

    @property
    def transfer(self) -> int:
        """From light to codes, by the numbers of ITU-T H.273; 2 if the file does not say."""
        return transfer_of(self._stream)

    @property
    def transparent(self) -> bool:
        """Whether a channel of alpha means what it says."""
        return is_transparent(self._stream)

    def pictures(self) -> Iterator[VideoFrame]:
        """Those that are left."""
        return self._pictures

    def close(self) -> None:
        """Release the file."""
        self._pictures.close()
        self._container.close()

    def _select(self) -> VideoStream:
        streams = picture_tracks(self._container)
        if not streams:
            raise MediaError(f"{self.path} has no video track; give a video file such as MP4, MOV or WebM")
        stream = streams[0]
        kind = self._container.format.name
        if kind.endswith("_pipe") or kind == "image2" or self._container.metadata.get("major_brand") in STILL_BRANDS:
            raise MediaError(
                f"{self.path} is a still image; give a video here, or an animated GIF, PNG or WebP "
                "(are the two inputs swapped?)"
            )
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
                    if self._container.format.name == "avi":
                        self._retime(picture)
                    yield picture

    def _retime(self, picture: VideoFrame) -> None:
        """AVI has no times of presentation, and FFmpeg's guess is wrong where pictures are stored in another order.

        Those of decoding grow with the pictures that come out, the last few of which have none.
        """
        if self._lead is None and picture.pts is not None and picture.dts is not None:
            self._lead = picture.pts - picture.dts
        picture.pts = None if picture.dts is None or self._lead is None else picture.dts + self._lead

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


def picture_tracks(container: InputContainer) -> list[VideoStream]:
    """Those that are no covers of music; first the one to be shown, which of an AVIF sequence is the longest."""
    streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if container.metadata.get("major_brand") in SEQUENCE_BRANDS:
        streams.sort(key=lambda stream: -stream.frames)
    return streams
