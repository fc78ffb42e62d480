"""What is written down about inputs and clips, and the journal that makes runs resumable.

``journal.jsonl`` is the truth: one line an input, written when all its clips are complete. ``index.jsonl`` and
``skipped.jsonl`` are made from it, so a run killed at any moment leaves nothing that does not fit together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from synhead.data.files import replacing
from synhead.training.preparation.options import PrepareError, PrepareOptions, Rejected

_FREE_TO_CHANGE = ("workers", "crf")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRecord:
    """One line of ``index.jsonl``; the data room reads ``path``, ``person`` and ``split``.

    ``crop``: left, top and side in pixels of the source. ``hashes``: perceptual, hexadecimal.
    """

    clip: str
    path: str
    split: str
    person: str
    kind: str
    frames: int
    fps: float
    source: str
    source_sha256: str
    begin_s: float
    end_s: float
    crop: tuple[int, int, int]
    face_px: int
    sharpness: float
    detector: str
    track: int
    hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRecord:
    """One line of ``journal.jsonl``: an input that is finished, with all that came of it.

    ``source``: as it was named, relative or not; ``place``: where that was, empty in journals of earlier versions.
    """

    source: str
    source_bytes: int
    modified_ns: int
    sha256: str
    clips: tuple[ClipRecord, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    place: str = ""


class Journal:
    """The inputs finished so far in ``folder``.

    Raises PrepareError if the folder holds clips made with other options, or something else altogether.
    """

    def __init__(self, folder: Path, options: PrepareOptions) -> None:
        self._folder, self._path = folder, folder / "journal.jsonl"
        self._person_by_file = options.person == "file"
        folder.mkdir(parents=True, exist_ok=True)
        self._check_options(options)
        self.inputs = self._read()
        self._rewrite()

    def finished(self, source: Path) -> bool:
        """Whether an earlier run read this file to its end and it has not changed since.

        One that was unreadable is not finished: a codec, the disk or memory may have been at fault, not the file.
        """
        status = source.stat()
        return any(
            (record.source, record.source_bytes, record.modified_ns)
            == (str(source), status.st_size, status.st_mtime_ns)
            and all(item.cause != "unreadable" for item in record.rejected)
            for record in self.inputs
        )

    def refuse_namesakes(self, sources: Iterable[Path]) -> None:
        """PrepareError if a source has the name of another video, which still is where it was: its clips would go."""
        places = {record.source: Path(record.place) for record in self.inputs if record.place}
        for source in sources:
            place = places.get(str(source))
            if place is not None and place != source.resolve() and place.exists():
                raise PrepareError(
                    f"{self._folder} holds clips of another {source}, which is {place}; "
                    f"name this one {source.resolve()}, or choose another folder"
                )

    def add(self, record: InputRecord) -> tuple[ClipRecord, ...]:
        """Write down a finished input; one that was there before is replaced. Returns clips that are none any more.

        A video that was there before stays the person it was, in the same split, whatever it has become.
        """
        replaced = [old for old in self.inputs if old.source == record.source]
        if self._person_by_file:
            record = _same_person(record, replaced)
        self.inputs = [old for old in self.inputs if old.source != record.source] + [record]
        if replaced:
            self._rewrite()
            kept = {clip.clip for clip in record.clips}
            return tuple(clip for old in replaced for clip in old.clips if clip.clip not in kept)
        for path, items in (
            (self._path, [record]),
            (self._folder / "index.jsonl", record.clips),
            (self._folder / "skipped.jsonl", record.rejected),
        ):
            with path.open("a") as file:
                file.write(_lines(items))
        return ()

    def _check_options(self, options: PrepareOptions) -> None:
        path = self._folder / "options.json"
        wanted = {name: value for name, value in asdict(options).items() if name not in _FREE_TO_CHANGE}
        if not path.exists():
            if any(self._folder.glob("*.mp4")) or (self._folder / "index.jsonl").exists():
                raise PrepareError(f"{self._folder} holds clips that were not prepared here; choose a new folder")
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(wanted, indent=2) + "\n")
            return
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise PrepareError(f"{path} is damaged ({error}); choose a new output folder") from error
        other = sorted(name for name in wanted if found.get(name) != wanted[name])
        if other:
            raise PrepareError(
                f"{self._folder} was prepared with another {', '.join(other)}; use the same or choose a new folder"
            )

    def _read(self) -> list[InputRecord]:
        """Records of the journal; a last line cut short by a kill is dropped."""
        records: dict[str, InputRecord] = {}
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        for number, line in enumerate(lines, start=1):
            try:
                record = _input_record(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                if number == len(lines):
                    break
                raise PrepareError(f"{self._path}:{number} is damaged ({error}); remove that line") from error
            records[record.source] = record
        return list(records.values())

    def _rewrite(self) -> None:
        for path, items in (
            (self._path, self.inputs),
            (self._folder / "index.jsonl", [clip for record in self.inputs for clip in record.clips]),
            (self._folder / "skipped.jsonl", [rejected for record in self.inputs for rejected in record.rejected]),
        ):
            with replacing(path) as temporary:
                temporary.write_text(_lines(items))


def _same_person(record: InputRecord, earlier: Iterable[InputRecord]) -> InputRecord:
    known = next((clip for old in earlier for clip in old.clips), None)
    if known is None:
        return record
    clips = tuple(replace(clip, person=known.person, split=known.split) for clip in record.clips)
    return replace(record, clips=clips)


def _lines(items: Iterable[InputRecord | ClipRecord | Rejected]) -> str:
    return "".join(json.dumps(asdict(item)) + "\n" for item in items)


def _input_record(data: Mapping[str, Any]) -> InputRecord:
    clips = [
        ClipRecord(**{**clip, "crop": tuple(clip["crop"]), "hashes": tuple(clip["hashes"])}) for clip in data["clips"]
    ]
    rejected = [
        Rejected(item["source"], item["cause"], item["reason"], tuple(item["span_s"]) if item["span_s"] else None)
        for item in data["rejected"]
    ]
    return InputRecord(**{**data, "clips": tuple(clips), "rejected": tuple(rejected)})
