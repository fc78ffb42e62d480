"""Generated videos, written with PyAV alone so that the code under test is not its own witness.

Frame i is grey (its level says which frame it is) with a red patch in the upper left quarter, so that turning shows.
The tone begins at ``burst`` seconds, so that its onset can be measured.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

NTSC = Fraction(30000, 1001)
LEVEL_STEP = 8


@dataclass(frozen=True)
class Tone:
    codec: str = "aac"
    rate: int = 48000
    start: Fraction = Fraction(0)
    seconds: float = 1.0
    burst: float = 0.5
    layout: str = "mono"


def picture(index: int, width: int, height: int) -> np.ndarray:
    image = np.full((height, width, 3), 20 + LEVEL_STEP * (index % 25), dtype=np.uint8)
    image[: height // 2, : width // 2] = (220, 30, 30)
    return image


def level(image: np.ndarray) -> int:
    """Which frame a picture is, from its lower right corner."""
    height, width = image.shape[:2]
    return round((float(image[height * 3 // 4 :, width * 3 // 4 :].mean()) - 20) / LEVEL_STEP)


def write_clip(
    path: Path,
    frames: int | Sequence[Fraction] = 6,
    *,
    rate: Fraction = NTSC,
    size: tuple[int, int] = (64, 64),
    tone: Tone | None = None,
    codec: str = "libx264",
    time_base: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    pictures: Sequence[np.ndarray] | None = None,
    reordered: int = 0,
) -> Path:
    """A clip of so many frames, or with frames at these times; of these pictures (upright, of that size) if given.

    ``reordered``: so many B-frames in a row, in H.264.
    """
    times = [i / rate for i in range(frames)] if isinstance(frames, int) else list(frames)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.width, video.height = size
        video.pix_fmt = pix_fmt
        video.codec_context.time_base = time_base or 1 / rate
        video.options = {"preset": "ultrafast", "crf": "10", "bf": f"{reordered}"} if codec == "libx264" else {}
        audio = container.add_stream(tone.codec, rate=tone.rate, layout=tone.layout) if tone else None
        for i, time in enumerate(times):
            image = picture(i, *size) if pictures is None else np.ascontiguousarray(pictures[i])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.time_base = video.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and tone is not None:
            _write_tone(container, audio, tone)
    return path


def _write_tone(container, stream, tone: Tone) -> None:
    clock = np.arange(int(tone.seconds * tone.rate)) / tone.rate
    wave = (0.5 * np.sin(2 * np.pi * 440 * clock) * (clock + float(tone.start) >= tone.burst)).astype(np.float32)
    for begin in range(0, len(wave), 960):
        part = np.repeat(wave[None, begin : begin + 960], 1, axis=0)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = tone.rate, Fraction(1, tone.rate)
        frame.pts = begin + round(tone.start * tone.rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def onset(path: Path) -> float:
    """Seconds from the first picture to the first loud sound, from decoded frames and their timestamps."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        origin = float(first.pts * first.time_base)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(np.float64)
            full = float(np.iinfo(frame.to_ndarray().dtype).max) if frame.format.name.startswith("s") else 1.0
            loud = np.nonzero(np.abs(samples / full).max(axis=0) > 0.15)[0]
            if loud.size:
                channels = 1 if frame.format.is_planar else frame.layout.nb_channels
                return float(frame.pts * frame.time_base) + int(loud[0]) // channels / frame.sample_rate - origin
    raise AssertionError(f"{path} is silent")


def audio_end(path: Path) -> float:
    with av.open(str(path)) as container:
        *_, last = container.decode(audio=0)
    return float(last.pts * last.time_base) + last.samples / last.sample_rate


def video_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write (a, b, c, d) into an MP4's track header (16.16 fixed point), as phones do."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    a, b, c, d = (value << 16 for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def damage(path: Path, packets: set[int]) -> None:
    """Overwrite the middle of these video packets."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for index in packets:
        pos, size = places[index]
        data[pos : pos + size] = b"\xff" * size
    path.write_bytes(data)
