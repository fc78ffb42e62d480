"""The sound of another file for new pictures: packets copied, or transcoded (AAC, in WebM Opus), as they are due."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.filter import Graph

from synhead.data.container import AnyPacket, filtered, open_media

log = logging.getLogger(__name__)

AudioMode = Literal["copied", "transcoded", "none"]

_COPIED_MP4 = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
_COPIED_MOV = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le"})
COPIED = {
    ".mp4": _COPIED_MP4,
    ".m4v": _COPIED_MP4,
    ".mov": _COPIED_MOV,
    ".mkv": _COPIED_MP4 | _COPIED_MOV,
    ".webm": frozenset({"opus", "vorbis"}),
}
"""Codecs that players expect in each container; others are transcoded, even where the container could hold them."""

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
OPUS_RATES = (48000, 24000, 16000, 12000, 8000)
DEFAULT_ENCODER = ("aac", AAC_RATES)
ENCODERS = {".webm": ("libopus", OPUS_RATES)}
BITS_PER_CHANNEL = 96_000


class AudioTrack:
    """The first usable audio stream of ``path``, read again beside the video and muxed up to the time asked for.

    Only one packet is ever held. Times are on the file's own clock; ``origin`` is the one that becomes zero, so that
    an offset between sound and picture stays as it was.
    """

    def __init__(self, path: Path, output: OutputContainer, suffix: str) -> None:
        self.path = path
        self.mode: AudioMode = "none"
        self._output = output
        self._origin = Fraction(0)
        self._packets: Iterator[AnyPacket] = iter(())
        self._next: AnyPacket | None = None
        self._input: InputContainer | None = None
        self._attach(suffix)

    def start(self, origin: Fraction) -> None:
        """Fix the time of the file that becomes zero in the output. Call it once, before anything is muxed."""
        self._origin = origin
        self._advance()

    def mux_until(self, moment: Fraction) -> None:
        """Write all packets that begin before ``moment``, in seconds of the output."""
        while self._next is not None and self._time(self._next) < moment:
            self._output.mux_one(self._next)
            self._advance()

    def close(self) -> None:
        """Release the file."""
        self._packets = iter(())
        if self._input is not None:
            self._input.close()

    def _attach(self, suffix: str) -> None:
        source = open_media(self.path)
        self._input = source
        for stream in source.streams.audio:
            if stream.codec_context is None or not stream.rate:
                log.warning("%s: an audio track cannot be decoded; left out", self.path)
                continue
            if stream.codec_context.codec.canonical_name in COPIED[suffix]:
                try:
                    copy = self._output.add_stream_from_template(stream)
                except (ValueError, av.error.FFmpegError) as error:
                    log.info("%s: audio is transcoded, as it cannot be copied (%s)", self.path, error)
                else:
                    self.mode, self._packets = "copied", self._copied(source, stream, copy)
                    return
            layout = "mono" if stream.channels == 1 else "stereo"
            bits = BITS_PER_CHANNEL * min(stream.channels, 2)
            name, rates = ENCODERS.get(suffix, DEFAULT_ENCODER)
            rate = stream.rate if stream.rate in rates else 48000
            encoder = cast(AudioStream, self._output.add_stream(name, rate=rate, layout=layout, bit_rate=bits))
            self.mode, self._packets = "transcoded", self._transcoded(source, stream, encoder)
            return

    def _advance(self) -> None:
        try:
            self._next = next(self._packets, None)
        except (av.error.FFmpegError, ValueError) as error:
            log.warning("%s: the sound ends early, as the rest is damaged (%s)", self.path, error)
            self._next = None

    def _time(self, packet: AnyPacket) -> Fraction:
        return Fraction(packet.pts or 0) * packet.time_base

    def _copied(self, source: InputContainer, stream: AudioStream, copy: AudioStream) -> Iterator[AnyPacket]:
        """Packets as they are, moved by the origin. One packet of lead-in is kept: decoders overlap neighbours."""
        last: int | None = None
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None or (last is not None and packet.dts <= last):
                continue
            last = packet.dts
            shift = round(self._origin / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.pts + 2 * (packet.duration or 0) <= 0:
                continue
            packet.stream = copy
            yield packet

    def _transcoded(self, source: InputContainer, stream: AudioStream, encoder: AudioStream) -> Iterator[AnyPacket]:
        """Decoded, gaps filled with silence, encoded."""
        graph: Graph | None = None
        for frame in self._decoded(source, stream):
            graph = graph or _conversion(frame, encoder)
            graph.push(frame)
            for converted in filtered(graph, AudioFrame):
                yield from encoder.encode(converted)
        if graph is not None:
            graph.push(None)
            for converted in filtered(graph, AudioFrame):
                yield from encoder.encode(converted)
            yield from encoder.encode(None)

    def _decoded(self, source: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
        for packet in source.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                log.warning("%s: skipped damaged sound (%s)", self.path, error)
                continue
            for frame in frames:
                if frame.pts is None or frame.time_base is None:
                    continue
                frame.pts -= round(self._origin / frame.time_base)
                if (frame.pts * frame.time_base) + Fraction(frame.samples, frame.sample_rate) > 0:
                    yield frame


def _conversion(frame: AudioFrame, encoder: AudioStream) -> Graph:
    graph = Graph()
    graph.link_nodes(
        graph.add_abuffer(
            sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout, time_base=frame.time_base
        ),
        graph.add("aresample", **{"async": "1"}),
        graph.add(
            "aformat",
            sample_fmts=encoder.format.name,
            sample_rates=str(encoder.rate),
            channel_layouts=encoder.layout.name,
        ),
        graph.add("abuffersink"),
    ).configure()
    return graph
