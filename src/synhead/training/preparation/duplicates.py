"""The same footage twice: whole files by their hash, clips by what they look like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from synhead.training.preparation.checks import hash_distance
from synhead.training.preparation.options import Rejected
from synhead.training.preparation.records import ClipRecord, InputRecord
from synhead.training.preparation.worker import strip_path


class Duplicates:
    """Remembers inputs and clips, and takes what is there already out of later ones, deleting its files."""

    def __init__(self, output: Path, bits: int, known: Iterable[InputRecord]) -> None:
        self._output, self._bits = output, bits
        self._files: dict[str, str] = {}
        self._clips: list[tuple[str, tuple[int, ...]]] = []
        for record in known:
            self._remember(record)

    def remove(self, record: InputRecord) -> InputRecord:
        """``record`` without clips that are known, which are rejected with the name of the first one."""
        twin = self._files.get(record.sha256)
        if record.sha256 and twin not in (None, record.source):
            for clip in record.clips:
                delete_clip(self._output, clip)
            return replace(
                record, clips=(), rejected=(Rejected(record.source, "duplicate", f"the same file as {twin}"),)
            )
        kept: list[ClipRecord] = []
        rejected = list(record.rejected)
        for clip in record.clips:
            known = self._find(clip)
            if known is None:
                kept.append(clip)
                self._clips.append((clip.clip, _hashes(clip)))
            else:
                delete_clip(self._output, clip)
                span = (clip.begin_s, clip.end_s)
                rejected.append(Rejected(record.source, "duplicate", f"looks like clip {known}", span))
        if record.sha256:
            self._files.setdefault(record.sha256, record.source)
        return replace(record, clips=tuple(kept), rejected=tuple(rejected))

    def _remember(self, record: InputRecord) -> None:
        if record.sha256:
            self._files.setdefault(record.sha256, record.source)
        self._clips += [(clip.clip, _hashes(clip)) for clip in record.clips]

    def _find(self, clip: ClipRecord) -> str | None:
        hashes = _hashes(clip)
        return next((name for name, known in self._clips if hash_distance(known, hashes) <= self._bits), None)


def delete_clip(output: Path, clip: ClipRecord) -> None:
    """Its files in the folder ``output``, those that are there."""
    (output / clip.path).unlink(missing_ok=True)
    strip_path(output, clip.clip).unlink(missing_ok=True)


def _hashes(clip: ClipRecord) -> tuple[int, ...]:
    return tuple(int(value, 16) for value in clip.hashes)
