"""Which codecs each container takes, which encoders FFmpeg offers for them, and how each is set up."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

from av.codec import Codec
from av.codec.codec import UnknownCodecError

from synhead.data.errors import MediaError

CodecName = Literal["h264", "h265", "av1", "vp9"]
CodecChoice = Literal["auto", "h264", "h265", "av1", "vp9"]

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
CODECS_OF: dict[str, tuple[CodecName, ...]] = {
    ".mp4": ("h264", "h265", "av1"),
    ".m4v": ("h264", "h265", "av1"),
    ".mov": ("h264", "h265"),
    ".mkv": ("h264", "h265", "av1", "vp9"),
    ".webm": ("vp9", "av1"),
}
"""What players expect in each container and FFmpeg can put there; the first is the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoCodec:
    """A codec by its encoders, best first. ``crf``: the default of its own scale, whose end is ``max_crf``.

    ``tag``: the four letters that Apple's players ask for in MP4 and MOV.
    """

    name: CodecName
    encoders: tuple[str, ...]
    crf: int
    max_crf: int
    options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None


# Without B-frames decoding times equal presentation times, so that variable rates keep their exact durations. x264's
# preset "faster" takes half the time of its default, for 1 % more bytes and 0.3 dB (docs/speed.md).
CODECS: dict[CodecName, VideoCodec] = {
    "h264": VideoCodec(name="h264", encoders=("libx264",), crf=18, max_crf=51, options={"bf": "0", "preset": "faster"}),
    "h265": VideoCodec(
        name="h265",
        encoders=("libx265",),
        crf=20,
        max_crf=51,
        options={"x265-params": "bframes=0:log-level=error"},
        tag="hvc1",
    ),
    "av1": VideoCodec(
        name="av1", encoders=("libsvtav1", "libaom-av1"), crf=24, max_crf=63, options={"preset": "8", "cpu-used": "6"}
    ),
    "vp9": VideoCodec(
        name="vp9",
        encoders=("libvpx-vp9",),
        crf=24,
        max_crf=63,
        options={"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1", "auto-alt-ref": "0"},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How pictures are encoded: FFmpeg's encoder, its options (quality included) and the container's tag."""

    codec: CodecName
    encoder: str
    options: dict[str, str]
    tag: str | None


def choose_encoding(suffix: str, codec: CodecChoice, crf: int | None) -> Encoding:
    """The encoder for ``codec`` in files that end in ``suffix``; MediaError names the choices if there is none."""
    allowed = CODECS_OF[suffix]
    name = allowed[0] if codec == "auto" else codec
    if name not in allowed:
        raise MediaError(f"{suffix} files take no {name}; choose {' or '.join(allowed)}, or another container")
    chosen = CODECS[name]
    quality = chosen.crf if crf is None else crf
    if not 0 <= quality <= chosen.max_crf:
        raise MediaError(f"crf {crf} is out of range; choose 0 (best) to {chosen.max_crf}, {chosen.crf} looks lossless")
    encoder = next((encoder for encoder in chosen.encoders if has_encoder(encoder)), None)
    if encoder is None:
        others = [other for other in allowed if any(map(has_encoder, CODECS[other].encoders))]
        raise MediaError(
            f"this PyAV has no encoder for {name} ({' or '.join(chosen.encoders)}); "
            f"choose {' or '.join(others) or 'another container'}, or install PyAV's own wheel (pip install av)"
        )
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes its settings to standard error unless told otherwise
    tag = chosen.tag if FORMATS[suffix] in ("mp4", "mov") else None
    return Encoding(codec=name, encoder=encoder, options={"crf": str(quality), **_known(encoder, chosen)}, tag=tag)


def has_encoder(name: str) -> bool:
    """Whether the installed FFmpeg can encode with it."""
    try:
        return Codec(name, "w").is_encoder
    except UnknownCodecError:
        return False


def _known(encoder: str, codec: VideoCodec) -> dict[str, str]:
    """Its options but the other encoder's: SVT-AV1 has presets, libaom has cpu-used."""
    unknown = {"libsvtav1": "cpu-used", "libaom-av1": "preset"}.get(encoder)
    return {name: value for name, value in codec.options.items() if name != unknown}
