"""Rendered frames on disk, lossless: rendered on one machine, measured on another."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from synhead.data.errors import MediaError
from synhead.data.files import replacing
from synhead.types import NDArray

__all__ = ["read_frames", "write_frames"]

log = logging.getLogger(__name__)

Frames = UInt8[NDArray[np.uint8], "_ _ _ 3"]


def write_frames(
    path: Path, methods: Mapping[str, Mapping[str, Frames]], *, part_bytes: int | None = None
) -> tuple[Path, ...]:
    """``methods[method][clip]`` as PNGs in an npz; with ``part_bytes``, in several of about that size at most.

    Parts are named ``<stem>-000.npz`` and so on. Returns the files written.
    """
    parts: list[dict[str, UInt8[NDArray[np.uint8], " bytes"]]] = [{}]
    filled = 0
    for key, data in _encoded(methods):
        if part_bytes is not None and filled and filled + len(data) > part_bytes:
            parts.append({})
            filled = 0
        parts[-1][key] = np.frombuffer(data, np.uint8)
        filled += len(data)
    written = []
    for number, part in enumerate(parts):
        target = path if len(parts) == 1 else path.with_name(f"{path.stem}-{number:03d}{path.suffix}")
        with replacing(target) as temporary, temporary.open("wb") as file:
            np.savez(file, **part)
        written.append(target)
    return tuple(written)


def read_frames(paths: Sequence[Path]) -> dict[str, dict[str, Frames]]:
    """Inverse of :func:`write_frames`, given all parts. Raises MediaError for files that are not such archives."""
    pictures: dict[tuple[str, str], dict[int, UInt8[NDArray[np.uint8], "_ _ 3"]]] = {}
    for path in paths:
        try:
            with np.load(path) as archive:
                for key in archive.files:
                    method, clip, index = key.split("|")
                    with Image.open(io.BytesIO(archive[key].tobytes())) as image:
                        pictures.setdefault((method, clip), {})[int(index)] = np.array(image.convert("RGB"))
        except (OSError, ValueError, BadZipFile) as error:
            raise MediaError(f"{path} is no archive of rendered frames ({error}); render them again") from error
    methods: dict[str, dict[str, Frames]] = {}
    for (method, clip), frames in pictures.items():
        methods.setdefault(method, {})[clip] = np.stack([frames[index] for index in sorted(frames)])
    return methods


def _encoded(methods: Mapping[str, Mapping[str, Frames]]) -> Iterator[tuple[str, bytes]]:
    for method, clips in methods.items():
        for clip, frames in clips.items():
            for index, frame in enumerate(frames):
                buffer = io.BytesIO()
                Image.fromarray(frame).save(buffer, "PNG")
                yield f"{method}|{clip}|{index}", buffer.getvalue()
