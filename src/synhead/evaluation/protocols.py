"""Which frames are compared: the two protocols of the paper, and lists of videos and pairs as csv files.

Trials are read one at a time; what cannot be read comes as :class:`Skipped` in its place, never silently dropped.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synhead.data.clips import Clip, DataError, Skipped
from synhead.data.decode import CLIP_ERRORS, count_frames, decode_clip
from synhead.data.files import check_input
from synhead.evaluation.trials import Trial, driving_indices, paired_indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """``frames``: so many of a clip, evenly spaced from the second to the last; None: all, the first too, as published.

    ``size``: side of the pictures in pixels.
    """

    frames: int | None = None
    size: int = 256

    def indices(self, count: int) -> tuple[int, ...]:
        """Of the driving frames in a clip of ``count``."""
        return tuple(range(count)) if self.frames is None else driving_indices(count, self.frames)


@dataclass(frozen=True, slots=True)
class Pair:
    """A source clip and frame, a driving clip, and the driving frame posed like the source."""

    source: str
    driving: str
    source_frame: int = 0
    reference_frame: int = 0

    @property
    def name(self) -> str:
        """Fit for a file name."""
        return f"{self.source}--{self.driving}"


def reconstruction(clips: Sequence[Clip | Skipped], sampling: Sampling) -> Iterator[Trial | Skipped]:
    """Same identity: the first frame of each clip is the source, its frames drive it and are what it should give."""
    for clip in clips:
        if isinstance(clip, Skipped):
            yield clip
            continue
        try:
            frames = decode_clip(clip, sampling.size)
        except CLIP_ERRORS as error:
            yield Skipped(clip.name, str(error))
            continue
        indices = sampling.indices(len(frames))
        yield Trial(clip.name, frames[0].copy(), frames[list(indices)], indices, clip_frames=len(frames))


def reenactment(pairs: Sequence[Pair], clips: Sequence[Clip], sampling: Sampling) -> Iterator[Trial | Skipped]:
    """Cross identity: a frame of one clip driven by another clip, relative to the pair's reference frame."""
    known = _by_name(clips)
    for pair in pairs:
        missing = [name for name in (pair.source, pair.driving) if name not in known]
        if missing:
            yield Skipped(pair.name, f"no clip named {' nor '.join(missing)} in the data")
            continue
        try:
            source = decode_clip(known[pair.source], sampling.size)
            driving = decode_clip(known[pair.driving], sampling.size)
        except CLIP_ERRORS as error:
            yield Skipped(pair.name, str(error))
            continue
        if pair.source_frame >= len(source) or pair.reference_frame >= len(driving):
            yield Skipped(pair.name, f"frames {pair.source_frame} and {pair.reference_frame} are not both in the clips")
            continue
        indices = sampling.indices(len(driving))
        yield Trial(
            pair.name,
            source[pair.source_frame].copy(),
            driving[list(indices)],
            indices,
            reference=driving[pair.reference_frame].copy(),
            clip_frames=len(driving),
        )


def select(clips: Sequence[Clip], names: Sequence[str]) -> tuple[Clip | Skipped, ...]:
    """The clips of those names, in that order; names without a clip are told."""
    known = _by_name(clips)
    return tuple(known.get(name, Skipped(name, "no clip of that name in the data")) for name in names)


def default_pairs(clips: Sequence[Clip], count: int = 12) -> tuple[Pair, ...]:
    """The same at every call, see :func:`~synhead.evaluation.trials.paired_indices`."""
    people = [clip.person for clip in clips]
    return tuple(Pair(clips[i].name, clips[j].name) for i, j in paired_indices(people, count))


def expected_frames(clips: Sequence[Clip | Skipped], sampling: Sampling) -> int:
    """How many driving frames there will be; clips that cannot be opened count as none."""
    total = 0
    for clip in clips:
        if isinstance(clip, Clip):
            try:
                total += len(sampling.indices(count_frames(clip)))
            except CLIP_ERRORS:
                continue
    return total


def read_video_list(path: Path) -> tuple[str, ...]:
    """Names of the column ``video``, in order. Raises DataError, also for a name that comes twice."""
    rows = _rows(path, ("video",))
    _require_once(path, [(number, _bare(row["video"])) for number, row in rows])
    return tuple(row["video"] for _, row in rows)


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """Rows of ``source``, ``driving`` and optionally ``source_frame`` and ``reference_frame``. Raises DataError, also
    for two pairs of the same clips, whatever the frames: results go by the clips' names.
    """
    rows = _rows(path, ("source", "driving"))
    _require_once(path, [(number, f"{_bare(row['source'])}--{_bare(row['driving'])}") for number, row in rows])
    return tuple(
        Pair(
            row["source"],
            row["driving"],
            _index(path, number, row, "source_frame"),
            _index(path, number, row, "reference_frame"),
        )
        for number, row in rows
    )


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows; other columns are left alone."""
    check_input(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark before the first name
            reader = csv.DictReader(file)
            named = reader.fieldnames or ()
            rows = [
                (reader.line_num, {key: (value or "").strip() for key, value in row.items() if key}) for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no csv file in UTF-8 ({error}); save it as one") from error
    missing = [name for name in columns if name not in named]
    if missing:
        raise DataError(
            f"{path}: no column {' nor '.join(missing)}; the first line names them, with commas: {','.join(columns)}"
        )
    for number, row in rows:
        if not all(row[name] for name in columns):
            raise DataError(f"{path}:{number}: {' or '.join(columns)} is empty; fill it in or delete the line")
    if not rows:
        raise DataError(f"{path} names nothing; write one row a line under {','.join(columns)}")
    return rows


def _bare(name: str) -> str:
    return name.removesuffix(".mp4")


def _require_once(path: Path, names: Sequence[tuple[int, str]]) -> None:
    """A second one would count twice, and write over the first one's results. ``names``: with their lines."""
    seen: dict[str, int] = {}
    for number, name in names:
        if name in seen:
            raise DataError(
                f"{path}:{number}: {name} is in line {seen[name]} already; delete one, or evaluate them apart"
            )
        seen[name] = number


def _index(path: Path, number: int, row: Mapping[str, str], column: str) -> int:
    text = row.get(column) or "0"
    if not text.isdecimal():
        raise DataError(f"{path}:{number}: {column} {text!r} is no frame number; count from 0")
    return int(text)


def _by_name(clips: Sequence[Clip]) -> dict[str, Clip]:
    """By name, and by name with the suffix of a video, as lists usually have it."""
    return {f"{clip.name}.mp4": clip for clip in clips} | {clip.name: clip for clip in clips}
