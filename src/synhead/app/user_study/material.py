"""The videos of a study: one folder a system, files of equal names are the same example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synhead.config import ConfigError

VIDEO_TYPES: Mapping[str, str] = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm"}
IMAGE_TYPES: Mapping[str, str] = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
MEDIA_TYPES = {**VIDEO_TYPES, **IMAGE_TYPES}


@dataclass(frozen=True, slots=True)
class Material:
    """``videos[system][example]``; ``references``: by example, what everybody may see (a source, a driver)."""

    videos: Mapping[str, Mapping[str, Path]]
    references: Mapping[str, Path]
    left_out: tuple[str, ...] = ()

    @property
    def systems(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(self.videos)

    @property
    def examples(self) -> tuple[str, ...]:
        """Those that every system has."""
        return tuple(next(iter(self.videos.values())))


def gather(folders: Sequence[str], references: Path | None = None) -> Material:
    """``NAME=FOLDER`` or ``FOLDER`` texts, two at least. Raises ConfigError naming the remedy."""
    found: dict[str, dict[str, Path]] = {}
    for text in folders:
        name, sign, path = text.rpartition("=")
        folder = Path(path)
        name = name if sign else folder.name
        if name in found:
            raise ConfigError(f"two systems are called {name!r}: name them, NAME=FOLDER")
        found[name] = _files(folder, VIDEO_TYPES)
    if len(found) < 2:
        raise ConfigError("a study compares systems: give two folders of videos or more")
    common = set.intersection(*(set(files) for files in found.values()))
    if not common:
        raise ConfigError("no video has the same name in every folder: equal names mark the same example")
    everything = set.union(*(set(files) for files in found.values()))
    shown = {} if references is None else _files(references, MEDIA_TYPES)
    return Material(
        videos={name: {example: files[example] for example in sorted(common)} for name, files in found.items()},
        references={example: path for example, path in shown.items() if example in common},
        left_out=tuple(sorted(everything - common)),
    )


def _files(folder: Path, types: Mapping[str, str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; give one folder of videos for each system")
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in types and path.is_file()]
    files = {path.stem: path for path in paths}
    for path in paths:
        if files[path.stem] != path:
            raise ConfigError(
                f"{folder} holds {path.name} and {files[path.stem].name}, which are one example: give one file for each"
            )
        if not path.stem.isprintable():
            raise ConfigError(f"{folder} holds a file with the name {path.name!a}, which cannot be kept: rename it")
    if not files:
        raise ConfigError(f"{folder} holds no {', '.join(types)}; browsers play these")
    return files
