"""Streaming animated GIFs: a palette of its own for every frame, and times that do not drift."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from synhead.data.container import AnyPacket, close_quietly, filtered
from synhead.data.files import check_output, replacing
from synhead.data.image import RgbImage
from synhead.data.output import Output, OutputSpec
from synhead.data.xmp_carriers import insert_xmp_extension

GIF_SUFFIXES = (".gif",)
TICK = Fraction(1, 100)
LEAST_DELAY = 2
"""Ticks between frames: what is shown shorter, browsers show ten times longer."""


class GifOutput(Output):
    """Writes RGB frames as a GIF that repeats for ever; see Output.

    Every frame is put at the nearest hundredth of a second of its own time, so that rounding never adds up. Frames
    that would come sooner than 1/50 s after the last are left out. Sound is left out.
    """

    def __init__(self, path: Path, spec: OutputSpec) -> None:
        super().__init__(path, spec)
        self._target = check_output(path, inputs=spec.protected, suffixes=GIF_SUFFIXES)
        self._last: int | None = None
        self._held: AnyPacket | None = None  # the last one's own duration counts, of others the distance to the next

    def _begin(self, stack: ExitStack) -> None:
        temporary = stack.enter_context(replacing(self._target, self._mark))
        self._container = av.open(f"file:{temporary}", "w", format="gif")
        stack.callback(close_quietly, self._container)
        self._stream = self._container.add_stream("gif", rate=self._spec.rate)
        self._stream.width, self._stream.height = self._spec.size
        self._stream.pix_fmt = "pal8"
        self._stream.codec_context.time_base = TICK
        self._graph = _palette_graph(self._spec.size)

    def write(self, image: RgbImage, *, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append a frame: at ``time`` (the first one's becomes zero) or one frame after the last. Times must grow."""
        begin = self._next(time, duration)
        tick = round(begin / TICK)
        if self._last is not None and tick - self._last < LEAST_DELAY:
            return
        self._last = tick
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        picture.pts, picture.time_base = tick, TICK
        self._push(picture)

    def _push(self, picture: VideoFrame | None) -> None:
        try:
            self._graph.push(picture)
            for indexed in filtered(self._graph, VideoFrame):
                indexed.time_base = TICK
                self._encode(indexed)
            if picture is None:
                self._encode(None)
        except av.error.FFmpegError as error:
            raise self._failure(error.strerror) from error

    def _encode(self, indexed: VideoFrame | None) -> None:
        for packet in self._stream.encode(indexed):
            if self._held is not None:
                self._container.mux_one(self._held)
            self._held = packet

    def _finish(self) -> None:
        if self._origin is None:
            raise self._nothing_written()
        self._push(None)
        try:
            if self._held is not None and self._last is not None:
                self._held.duration = max(LEAST_DELAY, round(self._end / TICK) - self._last)
                self._container.mux_one(self._held)
            self._container.close()
        except av.error.FFmpegError as error:
            raise self._failure(error.strerror) from error

    def _embed(self, temporary: Path, packet: str) -> None:
        insert_xmp_extension(temporary, packet)


def _palette_graph(size: tuple[int, int]) -> Graph:
    """FFmpeg's palette of each frame, applied to that frame: nothing is held back, so that memory does not grow."""
    graph = Graph()
    source = graph.add_buffer(width=size[0], height=size[1], format=VideoFormat("rgb24"), time_base=TICK)
    split = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=sierra2_4a")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
