"""Records of clips that are not decoded yet, and of what was left out."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal

from synhead.data.errors import MediaError

Layout = Literal["voxceleb", "folder", "shards"]

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_NUMBER = re.compile("([0-9]+)")


class DataError(MediaError):
    """A data set or clip that cannot be used; the message is one line and names the remedy."""


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
class Skipped:
    """A clip that was left out, and why."""

    name: str
    reason: str

    @classmethod
    def because(cls, clip: Clip, error: Exception) -> Skipped:
        """The clip, for an error, in one line."""
        return cls(clip.name, " ".join(str(error).split()))


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


def named_apart(found: Sequence[tuple[Clip, tuple[str, ...]]]) -> tuple[Clip, ...]:
    """The clips, in their order, each with a name of its own: landmarks, lists of pairs and results go by names.

    With each clip come other names for it, most wanted first, which are used where names are equal; a set of unequal
    names keeps all of them. Raises DataError where the last names are equal too.
    """
    names = [clip.name for clip, _ in found]
    for turn in range(max((len(others) for _, others in found), default=0)):
        counts = Counter(names)
        names = [
            name if counts[name] == 1 else others[min(turn, len(others) - 1)]
            for name, (_, others) in zip(names, found, strict=True)
        ]
    taken: dict[str, Clip] = {}
    for name, (clip, _) in zip(names, found, strict=True):
        if name in taken:
            raise DataError(f"two clips have the name {name}, in {taken[name].path} and {clip.path}; rename one")
        taken[name] = clip
    return tuple(clip if clip.name == name else replace(clip, name=name) for name, clip in taken.items())


def flat_name(path: PurePath) -> str:
    """A path as one name, which is fit for a file name too."""
    return "__".join(path.relative_to(path.anchor).parts)


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
