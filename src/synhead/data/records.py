"""Records of clips that are not decoded yet, and of what was left out."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synhead.data.errors import MediaError

__all__ = [
    "Clip",
    "ClipSet",
    "DataError",
    "Layout",
    "Skipped",
    "clip_from_record",
    "frame_paths",
    "identity",
    "natural_order",
]

Layout = Literal["voxceleb", "folder", "shards"]

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_NUMBER = re.compile("([0-9]+)")


class DataError(MediaError):
    """A data set or clip that cannot be used; the message is one line and names the remedy."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A clip that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A clip of one person, not decoded yet.

    ``path``: a video file, a folder of frames, or, with ``span`` (first byte, bytes), the tar that holds the video.
    ``data``: the video's bytes where it came over the network.
    """

    name: str
    person: str
    path: Path
    generated: bool = False
    span: tuple[int, int] | None = None
    data: bytes | None = None

    def video(self) -> Path | io.BytesIO:
        """What a video decoder opens: the file, or its bytes read out of the tar."""
        if self.data is not None:
            return io.BytesIO(self.data)
        if self.span is None:
            return self.path
        start, length = self.span
        with self.path.open("rb") as tar:
            tar.seek(start)
            return io.BytesIO(tar.read(length))


@dataclass(frozen=True, slots=True)
class ClipSet:
    """The clips of one split in a fixed order, and what was left out while listing them."""

    clips: tuple[Clip, ...]
    layout: Layout
    skipped: tuple[Skipped, ...] = ()

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    def __len__(self) -> int:
        return len(self.clips)


def identity(name: str) -> str:
    """Person of a clip by its name: the prefix before the first ``#`` (spec D), or the whole name."""
    return name.split("#", 1)[0]


def clip_from_record(
    record: Mapping[str, object],
    *,
    name: str,
    path: Path,
    span: tuple[int, int] | None = None,
    data: bytes | None = None,
) -> Clip:
    """A clip with ``person`` and ``kind`` of its index record; without ``person``, the person is read off the name."""
    person = record.get("person")
    return Clip(
        name=name,
        person=str(person) if person not in (None, "") else identity(name),
        path=path,
        generated=record.get("kind") == "generated",
        span=span,
        data=data,
    )


def frame_paths(folder: Path) -> list[Path]:
    """Image files of a frame folder by number, padded or not: ``frame2.png`` comes before ``frame10.png``."""
    images = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(images, key=lambda path: (natural_order(path.name), path.name))


def natural_order(name: str) -> tuple[str | int, ...]:
    """What to sort names by, so that the numbers in them count as numbers."""
    return tuple(int(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(name)))
