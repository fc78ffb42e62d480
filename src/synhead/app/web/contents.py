"""What was sent, by its content: the kind of file, and whether it is small and short enough to be worked on."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av.error
from av.container import InputContainer
from PIL import Image

from synhead.app.web.limits import Limits
from synhead.app.web.problems import RefusedError
from synhead.data.container import open_media
from synhead.data.image import RgbImage, read_image
from synhead.data.track import picture_tracks
from synhead.data.video import probe
from synhead.data.webp_animation import TICK, webp_facts
from synhead.inference.template_file import read_template

SNIFFED_BYTES = 64
MAX_STREAMS = 16
PICTURES: dict[str, tuple[str, str]] = {"jpeg": (".jpg", "JPEG"), "png": (".png", "PNG"), "webp": (".webp", "WEBP")}
"""Suffix, and Pillow's name."""
VIDEOS = {"mp4": (".mp4", "mov"), "matroska": (".mkv", "matroska"), "avi": (".avi", "avi"), "gif": (".gif", "gif")}
"""Suffix, and how FFmpeg's name begins."""

Kind = Literal["jpeg", "png", "webp", "mp4", "matroska", "avi", "gif", "template"]

_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (8, b"WEBP", "webp"),
    (8, b"AVI ", "avi"),
    (4, b"ftyp", "mp4"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
)
"""Where, what, and which kind begins with it."""


def check_portrait(path: Path, limits: Limits) -> tuple[Path, RgbImage]:
    """The portrait under a name with a suffix, and its pixels. Raises RefusedError, MediaError for a damaged one."""
    kind = _sniff(path)
    if kind not in PICTURES:
        raise RefusedError(422, "the portrait is no picture that can be used here; give a JPEG, PNG or WebP file")
    suffix, name = PICTURES[kind]
    path = path.rename(path.with_suffix(suffix))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; the limit below decides instead
            with Image.open(path, formats=[name]) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise RefusedError(422, f"the portrait has too many pixels; {_resize(limits)}") from None
    except Exception:  # Pillow's decoders raise many kinds on damaged files
        raise RefusedError(422, "the portrait is damaged; export or download the picture again") from None
    if width * height > limits.portrait_pixels:
        raise RefusedError(422, f"the portrait has {width} x {height} pixels; {_resize(limits)}")
    return path, read_image(path)


def check_driving(path: Path, limits: Limits) -> Path:
    """The driver under a name with a suffix. Raises RefusedError, MediaError or TemplateError for what cannot drive."""
    kind = _sniff(path)
    if kind == "template":
        path = path.rename(path.with_suffix(".safetensors"))
        template = read_template(path)
        check_length(len(template), template.times[-1] + template.durations[-1] - template.times[0], limits)
        return path
    if kind in PICTURES:
        path = path.rename(path.with_suffix(PICTURES[kind][0]))
        _check_moving_picture(path, limits)
    elif kind in VIDEOS:
        suffix, name = VIDEOS[kind]
        path = path.rename(path.with_suffix(suffix))
        with open_media(path) as container:
            if not container.format.name.startswith(name):
                raise RefusedError(422, "the driver is several kinds of file at once; export it again as MP4")
            check_video(container, limits)
    else:
        raise RefusedError(
            422,
            "the driver is no video that can be used here; give MP4, MOV, WebM, MKV, AVI, an animated GIF, PNG or "
            "WebP, or a template",
        )
    probe(path)
    return path


def _check_moving_picture(path: Path, limits: Limits) -> None:
    """PNG and WebP may move; JPEG does not."""
    facts = webp_facts(path)
    if facts is not None:
        _check_area(facts.width, facts.height, limits)
        check_length(len(facts.durations), sum(facts.durations) * TICK, limits)
        return
    with open_media(path) as container:
        if container.format.name != "apng":
            raise RefusedError(
                422,
                "the driver is a still picture; give a video, or an animated GIF, PNG or WebP (are the two swapped?)",
            )
        check_video(container, limits)


def _resize(limits: Limits) -> str:
    return f"resize it below {limits.portrait_pixels / 1e6:g} megapixels"


def _sniff(path: Path) -> Kind | None:
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "template"
    return next((kind for at, magic, kind in _MAGIC if head[at : at + len(magic)] == magic), None)


def check_video(container: InputContainer, limits: Limits) -> None:
    """Size as declared; length by counting what is really there, without decoding it. Raises RefusedError."""
    if len(container.streams) > MAX_STREAMS:
        raise RefusedError(
            422, f"the driver has {len(container.streams)} tracks; export it with one picture and one sound"
        )
    streams = picture_tracks(container)
    if not streams or streams[0].codec_context is None:
        raise RefusedError(422, "the driver has no video track that can be decoded; export it as H.264 in MP4")
    _check_area(streams[0].codec_context.width, streams[0].codec_context.height, limits)
    unit = streams[0].time_base or Fraction(1, 90000)
    frames, first, last = 0, None, None
    try:
        for packet in container.demux(streams[0]):
            frames += packet.size > 0
            moment = packet.pts if packet.pts is not None else packet.dts
            if moment is not None:
                first = moment if first is None else min(first, moment)
                last = moment + (packet.duration or 0) if last is None else max(last, moment + (packet.duration or 0))
            check_length(frames, ((last or 0) - (first or 0)) * unit, limits)
    except av.error.FFmpegError:
        return  # a damaged end: what comes before it may do


def _check_area(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.video_pixels:
        raise RefusedError(
            422, f"the driver has {width} x {height} pixels; export it below {limits.video_pixels / 1e6:.1f} megapixels"
        )


def check_length(frames: int, seconds: Fraction, limits: Limits) -> None:
    """Raises RefusedError for a driver of more frames or seconds than may be."""
    if frames > limits.frames:
        raise RefusedError(422, f"the driver has more than {limits.frames} frames; give a shorter one")
    if seconds > limits.seconds:
        raise RefusedError(422, f"the driver lasts more than {limits.seconds:g} seconds; give a shorter one")
