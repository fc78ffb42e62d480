"""Folders of videos, or of folders of pictures, made by any system: read losslessly, matched by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import av.error
import numpy as np
from PIL import Image, UnidentifiedImageError

from synhead.data.errors import MediaError
from synhead.data.files import replacing
from synhead.data.image import fit_image, read_image
from synhead.data.records import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Skipped, frame_paths
from synhead.data.video import read_frames
from synhead.evaluation.gauges.gauge import Frames, Picture
from synhead.evaluation.trials import Trial

_ERRORS = (MediaError, OSError, UnidentifiedImageError, av.error.FFmpegError, ValueError)


def list_videos(folder: Path) -> dict[str, Path]:
    """Videos (by stem) and folders of pictures (by name) directly in ``folder``, sorted. Raises MediaError if there is
    none, or two have one name.
    """
    if not folder.is_dir():
        raise MediaError(f"{folder}: no such folder; give a folder of videos or of folders of PNG frames")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and any(frame_paths(path)):
            name = path.name
        elif path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
            name = path.stem
        else:
            continue
        if name in found:
            raise MediaError(f"{found[name]} and {path} are both {name}: which is meant? move one elsewhere")
        found[name] = path
    if not found:
        raise MediaError(f"{folder} holds no video and no folder of pictures; name the folder around them")
    return dict(sorted(found.items()))


def read_video(path: Path, size: int | None = None) -> Frames:
    """All frames of a video or of a folder of pictures, resized to ``size`` if given. Raises MediaError."""
    try:
        if path.is_dir():
            frames = [_picture(image) for image in frame_paths(path)]
        else:
            frames = [frame.image for frame in read_frames(path)]
        if size is not None:
            frames = [fit_image(frame, size, "stretch") for frame in frames]
        return np.stack(frames)
    except _ERRORS as error:
        raise MediaError(f"{path} cannot be read as frames of one size ({error}); make it again") from error


def save_pictures(folder: Path, frames: Frames) -> None:
    """``000000.png`` and so on: what a result was, exactly. Those of an earlier, longer result go, lest they be read
    with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        with replacing(folder / f"{index:06d}.png") as temporary:
            Image.fromarray(frame).save(temporary, "PNG")
    for old in folder.glob(f"{'[0-9]' * 6}.png"):
        if int(old.stem) >= len(frames):
            old.unlink()


def reference_trials(
    references: Mapping[str, Path], sources: Path | None, size: int | None
) -> Iterator[Trial | Skipped]:
    """One trial a reference video. Its source: the first frame of what bears its name in ``sources``, else its own."""
    for name, path in references.items():
        try:
            driving = read_video(path, size)
            source = driving[0].copy() if sources is None else _source(sources, name, size)
        except MediaError as error:
            yield Skipped(name, str(error))
            continue
        yield Trial(name, source, driving, tuple(range(len(driving))))


def _source(folder: Path, name: str, size: int | None) -> Picture:
    for suffix in sorted(IMAGE_SUFFIXES):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            picture = read_image(path)
            return picture if size is None else fit_image(picture, size, "stretch")
    for suffix in ("", *sorted(VIDEO_SUFFIXES)):
        path = folder / f"{name}{suffix}"
        if path.exists():
            return read_video(path, size)[0].copy()
    raise MediaError(f"no source named {name} in {folder}; add it or leave --source out")


def _picture(path: Path) -> Picture:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))
