"""What happened to each job of a batch: JSON lines, only ever appended, each on the disk before work goes on."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from synhead.config import ConfigError, from_json

Event = Literal["opened", "started", "made", "done", "failed", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line. ``opened``: a run began. ``started``, ``failed``: an attempt. ``made``: its output waits complete under
    its staged name. ``done``: it has its own name. ``lost``: an attempt whose worker is gone.

    ``key``, ``digest``: of the job. ``made_by``: which model. ``attempt``: its mark in staged names; ``number``: how
    many there were in this run. ``worker``: who makes it, if not this process. ``size``, ``sha256``: see Seal.
    ``report``: JSON.
    """

    event: Event
    key: str = ""
    digest: str = ""
    made_by: str = ""
    attempt: str = ""
    number: int = 0
    worker: str = ""
    size: int | None = None
    sha256: str | None = None
    report: str | None = None
    reason: str | None = None
    process: int = field(default_factory=os.getpid)
    time: float = field(default_factory=time.time)

    def to_line(self) -> bytes:
        """As JSON without what is not known, the report as an object."""
        data = {name: value for name, value in asdict(self).items() if value not in (None, "", 0)}
        if self.report is not None:
            data["report"] = json.loads(self.report)
        return json.dumps(data).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Record:
        """Inverse of :meth:`to_line`. Raises ValueError."""
        data = json.loads(line)
        if isinstance(data, dict) and "report" in data:
            data["report"] = json.dumps(data["report"])
        return from_json(cls, json.dumps(data))


class Journal:
    """The last record of each job; see :func:`open_journal`."""

    def __init__(self, descriptor: int, records: list[Record]) -> None:
        self._descriptor = descriptor
        self._last: dict[str, Record] = {}
        self._unended: dict[str, set[str]] = {}
        for record in records:
            self._take_in(record)

    def last(self, key: str) -> Record | None:
        """What happened last to the job with that output."""
        return self._last.get(key)

    def unended(self, key: str) -> frozenset[str]:
        """Marks of its attempts that never came to an end: killed, or lost with their workers."""
        return frozenset(self._unended.get(key, ()))

    def add(self, record: Record) -> None:
        """Append a line: the whole of it, or nothing and an OSError."""
        before = os.fstat(self._descriptor).st_size
        line = record.to_line()
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise
        self._take_in(record)

    def _take_in(self, record: Record) -> None:
        if not record.key:
            return
        self._last[record.key] = record
        if record.event == "started":
            self._unended.setdefault(record.key, set()).add(record.attempt)
        elif record.event != "lost":
            self._unended.get(record.key, set()).discard(record.attempt)


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """The journal at ``path``, for one process at a time; the system lets go of it if that process dies.

    A last line cut short by a kill is dropped. Raises ConfigError if another run holds it, or if it is damaged.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        free = _lock(descriptor)
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        records = _records(whole, path)
        if not free:
            holder = next((record.process for record in reversed(records) if record.event == "opened"), "unknown")
            raise ConfigError(f"another run works with {path} (process {holder}); wait for it, or stop it first")
        os.ftruncate(descriptor, len(whole))
        journal = Journal(descriptor, records)
        journal.add(Record(event="opened"))
        yield journal
    finally:
        os.close(descriptor)


def _records(content: bytes, path: Path) -> list[Record]:
    records = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            records.append(Record.from_line(line))
        except ValueError as error:
            raise ConfigError(f"{path}, line {number} is damaged ({error}); remove that line") from error
    return records


def _lock(descriptor: int) -> bool:
    """Whether this process holds the file now."""
    if sys.platform == "win32":
        raise ConfigError("a batch needs the file locks of Linux or macOS; on Windows run it in its Linux subsystem")
    import fcntl  # noqa: PLC0415  (POSIX only)

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
