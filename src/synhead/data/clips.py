"""Where clips come from: the reference's VoxCeleb folders, a flat folder with an index, or tar shards.

:func:`open_clips` recognises the layout and lists the clips without decoding them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from synhead.data.records import (
    VIDEO_SUFFIXES,
    Clip,
    ClipSet,
    DataError,
    Layout,
    Skipped,
    clip_from_record,
    flat_name,
    frame_paths,
    identity,
    named_apart,
)
from synhead.data.shards import is_shard_pattern, list_shards, read_shards

__all__ = ["Clip", "ClipSet", "DataError", "Skipped", "Split", "open_clips"]

Split = Literal["train", "val"]

_FOLDER_NAMES: Mapping[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "test")}
_INDEX = "index.jsonl"


def open_clips(source: str | Path, split: Split = "train") -> ClipSet:
    """Clips of ``split`` in ``source``, sorted by name, whatever the layout.

    ``source`` is one of: a folder with ``train`` and ``test`` (or ``val``) of ``<identity>#...`` frame folders or
    videos; a folder of videos with an ``index.jsonl`` (or without one); a folder of ``train*.tar`` and ``val*.tar``;
    tar shards themselves, as a path, a glob, a brace list (``set-{000..031}.tar``) or a URL with one.
    Shards that are named directly are taken whole, whatever ``split`` says.

    Raises:
        DataError: nothing there, or no clip of that split.
    """
    text = str(source)
    if is_shard_pattern(text):
        return _checked(read_shards(list_shards(text)), text, split)
    root = Path(source)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give a folder of clips, tar shards or a URL of shards")
    shards = [path for name in _FOLDER_NAMES[split] for path in sorted(root.glob(f"{name}*.tar"))]
    if shards:
        return _checked(read_shards([str(path) for path in shards]), text, split)
    for name in _FOLDER_NAMES[split]:
        if (root / name).is_dir():
            return _checked(_open_folder(root / name, "voxceleb"), text, split)
    if (root / _INDEX).is_file():
        return _checked(_open_index(root, split), text, split)
    if split == "train" and not (root / "test").is_dir() and not (root / "val").is_dir():
        return _checked(_open_folder(root, "folder"), text, split)
    raise DataError(f"{root}: no {split} split; expected {split}/, {split}*.tar or {_INDEX} with a field 'split'")


def _checked(found: ClipSet, source: str, split: Split) -> ClipSet:
    if not found.clips:
        why = f" ({len(found.skipped)} skipped, first: {found.skipped[0].reason})" if found.skipped else ""
        make = "make clips with `synhead prepare`"
        hold = "hold persons out: `synhead prepare --validation-share 0.1`, into a new folder"
        raise DataError(f"{source}: no clip of split {split!r}{why}; {hold if split == 'val' else make}")
    return found


def _open_folder(root: Path, layout: Layout) -> ClipSet:
    """Videos and frame folders directly in ``root``."""
    found: list[tuple[Clip, tuple[str, ...]]] = []
    skipped: list[Skipped] = []
    for path in sorted(root.iterdir()):
        if path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES:
            if path.is_dir() and not any(frame_paths(path)):
                skipped.append(Skipped(str(path), "a folder without PNG or JPEG frames"))
                continue
            name = path.name if path.is_dir() else path.stem
            found.append((Clip(name=name, person=identity(name), path=path), (path.name,)))
    return ClipSet(named_apart(found), layout, tuple(skipped))


def _open_index(root: Path, split: Split) -> ClipSet:
    """Clips named by ``index.jsonl``; a record without ``split`` belongs to train."""
    found: dict[Path, tuple[Clip, tuple[str, ...]]] = {}
    skipped: list[Skipped] = []
    for number, record in _records((root / _INDEX).read_text().splitlines()):
        if isinstance(record, str):
            skipped.append(Skipped(f"{root / _INDEX}:{number}", record))
            continue
        if record.get("split", "train") not in _FOLDER_NAMES[split]:
            continue
        path = _indexed_path(root, record)
        if path is None:
            skipped.append(Skipped(f"{root / _INDEX}:{number}", f"no file for {record.get('clip', 'this record')}"))
        elif path in found:
            skipped.append(Skipped(f"{root / _INDEX}:{number}", f"{path.name} is in the index already"))
        else:
            place = path.relative_to(root) if path.is_relative_to(root) else path
            others = flat_name(place.parent / place.stem), flat_name(place)
            found[path] = clip_from_record(record, name=path.stem, path=path), others
    clips = sorted(named_apart(list(found.values())), key=lambda clip: clip.name)
    return ClipSet(tuple(clips), "folder", tuple(skipped))


def _records(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, object] | str]]:
    """Line number and record, or what is wrong with the line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, f"not JSON: {error.msg}"
            continue
        yield number, record if isinstance(record, dict) else "not a JSON object"


def _indexed_path(root: Path, record: Mapping[str, object]) -> Path | None:
    """File or frame folder of a record: field ``path`` or ``file``, or ``clip`` with a suffix of a video or none."""
    for field in ("path", "file"):
        if isinstance(record.get(field), str):
            path = root / str(record[field])
            return path if path.exists() else None
    name = record.get("clip")
    if not isinstance(name, str):
        return None
    candidates = [root / f"{name}{suffix}" for suffix in ("", *sorted(VIDEO_SUFFIXES))]
    return next((path for path in candidates if path.exists()), None)
