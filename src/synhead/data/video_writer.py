"""Streaming video encode with the sound of another file, into a file that appears only when it is complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from synhead.data.audio import AudioMode, AudioTrack
from synhead.data.codecs import FORMATS, choose_encoding
from synhead.data.container import AnyPacket, close_quietly
from synhead.data.errors import MediaError
from synhead.data.files import check_output, replacing
from synhead.data.image import RgbImage
from synhead.data.output import Output, OutputSpec
from synhead.data.timeline import common_time_base
from synhead.data.xmp_carriers import append_xmp_box

VIDEO_SUFFIXES = tuple(FORMATS)
ISO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov"})
BT709 = 1
_ISO_OPTIONS = {"movflags": "+faststart"}
# Checksums of Matroska's elements would forbid the marking to be completed in place; those of its blocks don't exist.
_MUXER_OPTIONS = {"mp4": _ISO_OPTIONS, "mov": _ISO_OPTIONS, "matroska": {"write_crc": "0"}, "webm": {"write_crc": "0"}}


class VideoOutput(Output):
    """Writes RGB frames as a video (yuv420p, BT.709) with the first audio track of ``spec.audio_from``.

    A context manager: the file appears under its name when the block ends well; if it raises (Ctrl-C too), nothing is
    left behind and an earlier file stays as it was. Odd sides are made even by repeating the last row or column.

    Args:
        path: ends in .mp4, .m4v, .mov, .mkv or .webm; its folder must exist.
        spec: see OutputSpec.

    Raises:
        MediaError: at once if the output cannot be written, later if writing fails.
    """

    def __init__(self, path: Path, spec: OutputSpec) -> None:
        super().__init__(path, spec)
        self._target = check_output(path, inputs=spec.protected, suffixes=VIDEO_SUFFIXES)
        self._encoding = choose_encoding(self._target.suffix.lower(), spec.codec, spec.crf)
        self._time_base = common_time_base(spec.rate, spec.time_base)
        self._durations: dict[int, int] = {}
        self._last: int | None = None
        self._reformatter = VideoReformatter()
        self._audio: AudioTrack | None = None

    @property
    def audio(self) -> AudioMode:
        """What happens to the sound; known inside the block."""
        return "none" if self._audio is None else self._audio.mode

    def _begin(self, stack: ExitStack) -> None:
        suffix = self._target.suffix.lower()
        marking, audio_from = self._spec.marking, self._spec.audio_from
        temporary = stack.enter_context(replacing(self._target, self._mark))
        self._container = av.open(
            f"file:{temporary}", "w", format=FORMATS[suffix], container_options=_MUXER_OPTIONS[FORMATS[suffix]]
        )
        stack.callback(close_quietly, self._container)
        if marking is not None and suffix not in ISO_SUFFIXES:
            self._container.metadata["XMP"] = marking.packet(self._target)
        self._stream = self._add_stream()
        if audio_from is not None:
            self._audio = AudioTrack(audio_from, self._container, suffix)
            stack.callback(self._audio.close)

    def write(self, image: RgbImage, *, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append a frame: at ``time`` (the first one's becomes zero) or one frame after the last. Times must grow."""
        if self._origin is None:
            self._origin = time or Fraction(0)
            if self._audio is not None:
                self._audio.start(self._origin)
        begin = self._end if time is None else time - self._origin
        pts = round(begin / self._time_base)
        pts = pts if self._last is None else max(pts, self._last + 1)
        lasting = max(1, round((duration or 1 / self._spec.rate) / self._time_base))
        self._last, self._durations[pts] = pts, lasting
        self._end = (pts + lasting) * self._time_base
        picture = self._picture(image)
        picture.pts, picture.time_base = pts, self._time_base
        try:
            self._mux(self._stream.encode(picture))
        except av.error.FFmpegError as error:
            raise self._failure(error.strerror) from error

    def _add_stream(self) -> VideoStream:
        stream = self._container.add_stream(self._encoding.encoder, rate=self._spec.rate)
        if not isinstance(stream, VideoStream):
            raise MediaError(f"{self._encoding.encoder} encodes no video; choose another codec")
        width, height = self._spec.size
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context = stream.codec_context
        context.thread_type = "AUTO"  # whole frames side by side; PyAV's default, slices, is slower and larger
        context.time_base = self._time_base
        context.color_range, context.colorspace = ColorRange.MPEG, BT709
        context.color_primaries = context.color_trc = BT709
        if self._encoding.tag is not None:
            context.codec_tag = self._encoding.tag
        stream.options = dict(self._encoding.options)
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
            raise self._nothing_written()
        try:
            self._mux(self._stream.encode(None))
            if self._audio is not None:
                self._audio.mux_until(self._end)
            self._container.close()
        except av.error.FFmpegError as error:
            raise self._failure(error.strerror) from error

    def _embed(self, temporary: Path, packet: str) -> None:
        if self._target.suffix.lower() in ISO_SUFFIXES:
            append_xmp_box(temporary, packet)


class VideoWriter(VideoOutput):
    """Unmarked H.264 with the options most callers need: for clips that are no generated pictures, and tests."""

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
        spec = OutputSpec(
            rate=rate, size=size, marking=None, audio_from=audio_from, codec="h264", crf=crf, time_base=time_base
        )
        super().__init__(path, spec)
