"""Streaming H.264 encode with the driving video's sound, into a file that appears only when it is complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from synhead.data.audio import AudioMode, AudioTrack
from synhead.data.container import AnyPacket
from synhead.data.errors import MediaError
from synhead.data.files import check_output, replacing
from synhead.data.image import RgbImage
from synhead.data.timeline import common_time_base

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
VIDEO_SUFFIXES = tuple(FORMATS)
BT709 = 1
MAX_CRF = 51


class VideoWriter:
    """Writes RGB frames as H.264 (yuv420p, BT.709) with the first audio track of ``audio_from``.

    A context manager: the file appears under its name when the block ends well; if it raises (Ctrl-C too), nothing is
    left behind and an earlier file stays as it was. Odd sides are made even by repeating the last row or column.

    Args:
        path: ends in .mp4, .m4v, .mov or .mkv; its folder must exist.
        rate: frames a second; the distance of frames written without a time.
        size: (width, height) in pixels of all frames.
        audio_from: media file whose sound is copied (or transcoded to AAC), cut to the pictures' span.
        crf: x264's quality, 0 (lossless) to 51.
        time_base: unit of the times that will be given, to keep them exact; default 1 / rate.

    Raises:
        MediaError: at once if the output cannot be written, later if writing fails.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: Fraction,
        size: tuple[int, int],
        audio_from: Path | None = None,
        crf: int = 18,
        time_base: Fraction | None = None,
    ) -> None:
        if not 0 <= crf <= MAX_CRF:
            raise MediaError(f"crf {crf} is out of range; choose 0 (lossless) to {MAX_CRF}, 18 looks lossless")
        inputs = () if audio_from is None else (audio_from,)
        self.path = path
        self._target = check_output(path, inputs=inputs, suffixes=VIDEO_SUFFIXES)
        self._rate, self._size, self._crf, self._audio_from = rate, size, crf, audio_from
        self._time_base = common_time_base(rate, time_base)
        self._durations: dict[int, int] = {}
        self._origin: Fraction | None = None
        self._last: int | None = None
        self._end = Fraction(0)
        self._reformatter = VideoReformatter()
        self._stack = ExitStack()
        self._audio: AudioTrack | None = None

    @property
    def audio(self) -> AudioMode:
        """What happens to the sound; known inside the block."""
        return "none" if self._audio is None else self._audio.mode

    def __enter__(self) -> VideoWriter:
        suffix = self._target.suffix.lower()
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._target))
            options = {} if suffix == ".mkv" else {"movflags": "+faststart"}
            self._container = av.open(f"file:{temporary}", "w", format=FORMATS[suffix], container_options=options)
            stack.callback(_close_quietly, self._container)
            self._stream = self._add_stream()
            if self._audio_from is not None:
                self._audio = AudioTrack(self._audio_from, self._container, suffix)
                stack.callback(self._audio.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def write(self, image: RgbImage, *, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append a frame: at ``time`` (the first one's becomes zero) or one frame after the last. Times must grow."""
        if self._origin is None:
            self._origin = time or Fraction(0)
            if self._audio is not None:
                self._audio.start(self._origin)
        begin = self._end if time is None else time - self._origin
        pts = round(begin / self._time_base)
        pts = pts if self._last is None else max(pts, self._last + 1)
        lasting = max(1, round((duration or 1 / self._rate) / self._time_base))
        self._last, self._durations[pts] = pts, lasting
        self._end = (pts + lasting) * self._time_base
        picture = self._picture(image)
        picture.pts, picture.time_base = pts, self._time_base
        try:
            self._mux(self._stream.encode(picture))
        except av.error.FFmpegError as error:
            raise self._failure(error) from error

    def _add_stream(self) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._rate)
        width, height = self._size
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        context.color_range, context.colorspace = ColorRange.MPEG, BT709
        context.color_primaries = context.color_trc = BT709
        # Without B-frames decoding times equal presentation times, so that variable rates keep their exact durations.
        stream.options = {"crf": str(self._crf), "bf": "0"}
        return stream

    def _picture(self, image: RgbImage) -> VideoFrame:
        height, width = image.shape[:2]
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )

    def _mux(self, packets: Sequence[AnyPacket]) -> None:
        for packet in packets:
            if packet.pts is None:
                continue
            packet.duration = self._durations.pop(packet.pts, 0)
            if self._audio is not None:
                self._audio.mux_until(packet.pts * self._time_base)
            self._container.mux_one(packet)

    def _finish(self) -> None:
        if self._origin is None:
            raise MediaError(f"no frame was written to {self.path}; check the driving video")
        try:
            self._mux(self._stream.encode(None))
            if self._audio is not None:
                self._audio.mux_until(self._end)
            self._container.close()
        except av.error.FFmpegError as error:
            raise self._failure(error) from error

    def _failure(self, error: av.error.FFmpegError) -> MediaError:
        return MediaError(f"{self.path} could not be written ({error.strerror}); free space or choose another folder")


def _close_quietly(container: OutputContainer) -> None:
    """The file is thrown away or complete by now, so a failure to finish it says nothing new."""
    with suppress(av.error.FFmpegError):
        container.close()
