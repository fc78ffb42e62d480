"""Killed with -9 before, during and after every write to the disk: each output is made once and whole."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.inference.batch.jobs_file import BatchJob
from synhead.inference.batch.journal import open_journal
from synhead.inference.batch.queue import Policy
from synhead.inference.batch.run import run_jobs
from tests.inference.batch.doubles import FileRunner, Notes, jobs_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes of POSIX")

OUTPUTS = ("a.mp4", "b.mp4", "c")
STEPS = ("write", "fsync", "replace", "unlink", "ftruncate", "mkdir", "rmdir")


def work(folder: Path, jobs: tuple[BatchJob, ...]) -> None:
    with open_journal(folder / "jobs.jsonl.journal") as journal:
        run_jobs(jobs, FileRunner(folder / "calls"), journal, Policy(), Notes())


def dying(step: int, *, after: bool) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """For system calls: the process dies at the ``step``-th of them, before or after it; of a write half is done."""
    taken = 0

    def wrapped(call: Callable[..., object]) -> Callable[..., object]:
        def run(*given: object, **named: object) -> object:
            nonlocal taken
            taken += 1
            if taken == step:
                if after:
                    call(*given, **named)
                elif call.__name__ == "write":
                    call(given[0], bytes(given[1])[: len(bytes(given[1])) // 2])  # type: ignore[arg-type]
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return run

    return wrapped


def killed_at(step: int, folder: Path, jobs: tuple[BatchJob, ...], *, after: bool) -> bool:
    """Work in a child that dies at that step; False if it came to its end before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            wrap = dying(step, after=after)
            for name in STEPS:
                setattr(os, name, wrap(getattr(os, name)))
            work(folder, jobs)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def journal_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "jobs.jsonl.journal").read_text().splitlines()]


def whole(folder: Path) -> bool:
    """No output has its name without being complete."""
    files = all((folder / name).read_text() == "x" for name in OUTPUTS[:2] if (folder / name).exists())
    return files and ((folder / "c" / "sequence.json").exists() or not (folder / "c").exists())


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_step(tmp_path: Path, *, after: bool) -> None:
    step, made_twice = 0, 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        jobs = jobs_of(folder, *OUTPUTS, options={"label": "x"})
        if not killed_at(step, folder, jobs, after=after):
            break
        assert whole(folder)
        taken_down = {str(found["key"]) for found in journal_of_torn(folder) if found["event"] in ("made", "done")}
        before = FileRunner(folder / "calls").finished()
        work(folder, jobs)
        assert whole(folder)
        assert {p.name for p in folder.iterdir()} == {
            *OUTPUTS, "calls", "jobs.jsonl", "jobs.jsonl.journal", "portrait.jpg", "driving.mp4"
        }  # fmt: skip
        done = [str(found["key"]) for found in journal_of(folder) if found["event"] == "done"]
        assert sorted(done) == sorted(OUTPUTS)
        calls = FileRunner(folder / "calls").finished()
        assert set(calls) == set(OUTPUTS)
        again = calls[len(before) :]
        assert not taken_down & set(again)  # nothing that the journal knew of was animated once more
        made_twice += len(calls) - len(OUTPUTS)
        work(folder, jobs)
        assert FileRunner(folder / "calls").finished() == calls
    assert step > 30
    assert made_twice <= 4 * len(OUTPUTS)  # only between the end of the work and its line in the journal


def journal_of_torn(folder: Path) -> list[dict[str, object]]:
    path = folder / "jobs.jsonl.journal"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Far enough apart for a run to get one job to its end, or nearly."""
    jobs = jobs_of(tmp_path, *OUTPUTS, options={"label": "x"})
    kills = 0
    while killed_at(12, tmp_path, jobs, after=False):
        kills += 1
        assert kills < 50
    assert kills > 2
    assert whole(tmp_path)
    assert sorted(str(found["key"]) for found in journal_of(tmp_path) if found["event"] == "done") == sorted(OUTPUTS)
