"""One seam for all outputs: the name says which kind it is."""

from __future__ import annotations

from pathlib import Path

from synhead.data.errors import MediaError
from synhead.data.gif_writer import GIF_SUFFIXES, GifOutput
from synhead.data.image import IMAGE_SUFFIXES
from synhead.data.output import Marking, Output, OutputSpec
from synhead.data.still_writer import SequenceOutput, StillOutput
from synhead.data.video_writer import VIDEO_SUFFIXES, VideoOutput

__all__ = ["OUTPUT_SUFFIXES", "Marking", "Output", "OutputSpec", "open_output"]

OUTPUT_SUFFIXES = (*VIDEO_SUFFIXES, *GIF_SUFFIXES, *IMAGE_SUFFIXES)
"""Of files; a name without a suffix is a folder of PNGs."""


def open_output(path: Path, spec: OutputSpec) -> Output:
    """The writer for ``path``, a context manager: videos, .gif, one still image, or a folder of PNGs (no suffix).

    Raises MediaError before anything is written if the output cannot or must not be, or has nothing to do with the
    codec or quality asked for.
    """
    suffix = path.suffix.lower()
    if path.name.lower() in OUTPUT_SUFFIXES:
        raise MediaError(f"{path} is a suffix without a name; name the output as out{path.name.lower()}")
    if suffix in VIDEO_SUFFIXES:
        return VideoOutput(path, spec)
    if not suffix or suffix in OUTPUT_SUFFIXES:
        _check_no_codec(path, spec)
    if suffix in GIF_SUFFIXES:
        return GifOutput(path, spec)
    if suffix in IMAGE_SUFFIXES:
        return StillOutput(path, spec)
    if not suffix:
        return SequenceOutput(path, spec)
    raise MediaError(
        f"{path}: no output ends in {suffix}; choose {', '.join(OUTPUT_SUFFIXES)}, or no suffix for a folder of PNGs"
    )


def _check_no_codec(path: Path, spec: OutputSpec) -> None:
    """MediaError if a codec or a quality is asked for, which only videos have."""
    given = [name for name, asked in (("codec", spec.codec != "auto"), ("crf", spec.crf is not None)) if asked]
    if given:
        kind = f"a {suffix} file" if (suffix := path.suffix.lower()) else "a folder of PNGs"
        raise MediaError(
            f"{kind} has no {' and no '.join(given)}; leave {' and '.join(given)} out, "
            f"or name a video: {', '.join(VIDEO_SUFFIXES)}"
        )
