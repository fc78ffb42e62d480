"""WebDataset tar shards: ``<key>.mp4`` with ``<key>.json``, side by side in a tar, on disk or behind a URL.

Local tars are indexed (byte spans), so that their clips can be read in any order; URLs are streamed.
"""

from __future__ import annotations

import glob
import http.client
import itertools
import json
import re
import tarfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from synhead.data.records import (
    VIDEO_SUFFIXES,
    Clip,
    ClipSet,
    DataError,
    Skipped,
    clip_from_record,
    flat_name,
    named_apart,
)

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_TIMEOUT_S = 60.0
_CHUNK = 1 << 16
Stream = IO[bytes] | http.client.HTTPResponse


def is_shard_pattern(source: str) -> bool:
    """Whether ``source`` names tar shards rather than a folder."""
    return "://" in source or source.endswith((".tar", ".tar}"))


def expand_braces(pattern: str) -> list[str]:
    """``a-{00..02}.{x,y}`` written out, as a shell does; numbers keep their width."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    bounds = _RANGE.fullmatch(found[1])
    if bounds:
        first, last = int(bounds[1]), int(bounds[2])
        choices = [f"{number:0{len(bounds[1])}d}" for number in range(first, last + 1)]
    else:
        choices = found[1].split(",")
    head, tail = pattern[: found.start()], expand_braces(pattern[found.end() :])
    return [head + choice + rest for choice, rest in itertools.product(choices, tail)]


def list_shards(pattern: str) -> list[str]:
    """Paths or URLs of a brace list, glob or single name.

    Raises:
        DataError: a local name or glob that matches no file.
    """
    shards: list[str] = []
    for name in expand_braces(pattern):
        matches = [name] if "://" in name else sorted(glob.glob(name))  # noqa: PTH207  (patterns may be absolute)
        if not matches:
            raise DataError(f"{name}: no such shard; check the path, glob or brace list")
        shards += matches
    return shards


def read_shards(shards: Sequence[str]) -> ClipSet:
    """All clips of ``shards``: local ones as byte spans, remote ones downloaded into memory. Sorted by name.

    Keys that are equal but for their folders, or in several shards, get these into their names. Raises DataError for
    shards of equal names and parents that hold equal keys.
    """
    skipped: list[Skipped] = []
    found: dict[tuple[str, str], tuple[Clip, tuple[str, ...]]] = {}
    for shard in shards:
        path = PurePosixPath(urllib.parse.urlsplit(shard).path if "://" in shard else shard)
        for key, clip in _stream(shard, skipped):
            place = path.stem / PurePosixPath(key)
            others = flat_name(PurePosixPath(key)), flat_name(place), flat_name(path.parent.name / place)
            if (shard, key) in found:
                skipped.append(Skipped(f"{shard}:{key}", "there twice; the first is taken"))
            found.setdefault((shard, key), (clip, others))
    clips = sorted(named_apart(list(found.values())), key=lambda clip: clip.name)
    return ClipSet(tuple(clips), "shards", tuple(skipped))


@dataclass
class _Sample:
    """Files of one key, gathered until the next key begins."""

    key: str
    record: dict[str, object] = field(default_factory=dict)
    span: tuple[int, int] | None = None
    data: bytes | None = None


def stream_shard(shard: str, skipped: list[Skipped]) -> Iterator[Clip]:
    """Clips of one shard in its order. What cannot be read is appended to ``skipped``; a shard that breaks off in the
    middle gives the clips before the break.
    """
    for _, clip in _stream(shard, skipped):
        yield clip


def _stream(shard: str, skipped: list[Skipped]) -> Iterator[tuple[str, Clip]]:
    """Each clip with its key."""
    try:
        if "://" in shard:
            with urllib.request.urlopen(shard, timeout=_TIMEOUT_S) as response:
                yield from _clips(response, shard, remote=True, skipped=skipped)
                _require_transferred(response)
        else:
            with Path(shard).open("rb") as file:
                yield from _clips(file, shard, remote=False, skipped=skipped)
    except (OSError, http.client.HTTPException, tarfile.TarError, EOFError) as error:
        skipped.append(Skipped(shard, f"shard broken or cut short: {error}"))


def _require_transferred(response: Stream) -> None:
    """A transfer that broke off between two clips looks like the end of a tar; its announced length tells."""
    while response.read(_CHUNK):
        pass
    missing = getattr(response, "length", None)  # None where the server announced none
    if missing:
        raise EOFError(f"{missing} bytes are missing")


def _clips(file: Stream, shard: str, *, remote: bool, skipped: list[Skipped]) -> Iterator[tuple[str, Clip]]:
    current: _Sample | None = None
    with tarfile.open(fileobj=file, mode="r|" if remote else "r:") as tar:
        for member in tar:
            if not member.isfile():
                continue
            path = PurePosixPath(member.name)
            key = str(path.with_suffix(""))
            if current is None or current.key != key:
                yield from _finish(current, shard)
                current = _Sample(key)
            if path.suffix == ".json":
                current.record = _read_record(tar, member, skipped)
            elif path.suffix.lower() in VIDEO_SUFFIXES:
                _take_video(tar, member, current, remote=remote)
    yield from _finish(current, shard)


def _take_video(tar: tarfile.TarFile, member: tarfile.TarInfo, sample: _Sample, *, remote: bool) -> None:
    if not remote:
        _require_whole(tar, member)
        sample.span = (member.offset_data, member.size)
        return
    content = tar.extractfile(member)
    data = content.read() if content else b""
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} ends after {len(data)} of {member.size} bytes")
    sample.data = data


def _require_whole(tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    size = Path(str(tar.name)).stat().st_size
    if member.offset_data + member.size > size:
        raise tarfile.ReadError(f"{member.name} ends after {max(0, size - member.offset_data)} of {member.size} bytes")


def _read_record(tar: tarfile.TarFile, member: tarfile.TarInfo, skipped: list[Skipped]) -> dict[str, object]:
    content = tar.extractfile(member)
    try:
        record = json.loads(content.read()) if content else None
    except ValueError as error:
        skipped.append(Skipped(member.name, f"record is not JSON: {error}; clip kept, person read off its name"))
        return {}
    return record if isinstance(record, dict) else {}


def _finish(sample: _Sample | None, shard: str) -> Iterator[tuple[str, Clip]]:
    if sample is not None and (sample.span is not None or sample.data is not None):
        name = PurePosixPath(sample.key).name
        clip = clip_from_record(sample.record, name=name, path=Path(shard), span=sample.span, data=sample.data)
        yield sample.key, clip
