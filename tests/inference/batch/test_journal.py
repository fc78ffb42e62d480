"""The journal: what is in it stays, what was cut short goes, and it has one writer."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from synhead.config import ConfigError
from synhead.inference.batch.journal import Record, open_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.jsonl.journal"


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def test_what_was_added_is_there_again(path: Path) -> None:
    done = Record(event="done", key="a.mp4", digest="d", made_by="m", attempt="1", number=2, size=3, report='{"x": 1}')
    with open_journal(path) as journal:
        assert journal.last("a.mp4") is None
        journal.add(Record(event="started", key="a.mp4"))
        journal.add(done)
        assert journal.last("a.mp4") == done
    with open_journal(path) as journal:
        assert journal.last("a.mp4") == done
    assert events(path) == ["opened", "started", "done", "opened"]
    assert json.loads(path.read_text().splitlines()[2])["report"] == {"x": 1}


def test_a_line_cut_short_is_dropped_and_does_not_spoil_the_next(path: Path) -> None:
    with open_journal(path) as journal:
        journal.add(Record(event="started", key="a.mp4"))
    path.write_bytes(path.read_bytes() + b'{"event": "done", "key": "a.m')
    with open_journal(path) as journal:
        last = journal.last("a.mp4")
        assert last is not None
        assert last.event == "started"
        journal.add(Record(event="failed", key="a.mp4", reason="x"))
    assert events(path) == ["opened", "started", "opened", "failed"]


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"event": "eaten", "time": 1.0}', '{"event": "done", "new": 1}'])
def test_damage_in_the_middle_is_told(path: Path, line: str) -> None:
    path.write_text(f'{line}\n{{"event": "opened"}}\n')
    with pytest.raises(ConfigError, match="line 1 is damaged"), open_journal(path):
        pass


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def half(descriptor: int, line: bytes) -> int:
        if len(line) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, line[: len(line) // 2])

    with open_journal(path) as journal:
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            journal.add(Record(event="started", key="a.mp4"))
        assert journal.last("a.mp4") is None
        monkeypatch.setattr(os, "write", write)
        journal.add(Record(event="failed", key="a.mp4"))
    assert events(path) == ["opened", "failed"]


def test_a_second_run_is_refused_and_told_who(path: Path) -> None:
    refused = pytest.raises(ConfigError, match=rf"another run .*\(process {os.getpid()}\)")
    with open_journal(path), refused, open_journal(path):
        pass
    with open_journal(path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="processes of POSIX")
def test_what_a_dead_process_held_is_free(path: Path) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with open_journal(path):
            os.write(write, b"!")
            signal.pause()
        os._exit(0)
    os.read(read, 1)
    with pytest.raises(ConfigError, match=f"process {child}"), open_journal(path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open_journal(path):
        pass
