"""The queue with many workers: who dies, what is made again, and what is not held against a job."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from synhead.data.errors import MediaError
from synhead.inference.batch.errors import ClusterError
from synhead.inference.batch.journal import open_journal
from synhead.inference.batch.pool import Ended, Event, Frames, Gone, Pool, PoolWatcher, Ready, run_on_pool
from synhead.inference.batch.queue import Attempt, JobQueue, Policy
from synhead.inference.batch.staging import Seal, seal
from synhead.inference.batch.worker import Broken, Written
from tests.inference.batch.doubles import REPORT, Notes, jobs_of

OUTPUTS = ("a.mp4", "b.mp4", "c.mp4", "d.mp4")
Fate = Exception | str
"""Of an attempt: an error, "dies" after half of it, "torn": another file than it says, or "made"."""


class TwoWorkers:
    """A pool without processes; ``fates``: of attempts in order, all others are made."""

    def __init__(self, *fates: Fate) -> None:
        self._fates = deque(fates)
        self._idle = ["one", "two"]
        self._given: dict[str, Attempt] = {}
        self._told: list[Event] = [Ready("one"), Ready("two")]
        self.marks: list[str] = []
        self.renewed: list[str] = []
        self.stopped = False
        self.size = 2

    def idle(self) -> Sequence[str]:
        return tuple(self._idle)

    def give(self, worker: str, attempt: Attempt) -> None:
        assert attempt.worker == worker
        self._idle.remove(worker)
        self._given[worker] = attempt
        self.marks.append(attempt.mark)

    def events(self) -> Sequence[Event]:
        told, self._told = self._told, []
        for worker, attempt in self._given.items():
            told += [Frames(attempt.mark, 1, 3), self._end(worker, attempt)]
            self._idle.append(worker)
        self._given = {}
        return told

    def renew(self, worker: str) -> None:
        self.renewed.append(worker)

    def stop(self) -> None:
        self.stopped = True

    def _end(self, worker: str, attempt: Attempt) -> Event:
        fate = self._fates.popleft() if self._fates else "made"
        output = attempt.staged.output
        if isinstance(fate, Exception):
            return Ended(attempt.mark, Broken(fate, "there"))
        output.write_text("half" if fate == "dies" else attempt.job.key)
        if fate == "dies":
            return Gone(worker, attempt.mark, "killed")
        return Ended(attempt.mark, Written(REPORT, Seal(1, "?") if fate == "torn" else seal(output)))


class PoolNotes(Notes):
    """Of workers too."""

    def ready(self, worker: str) -> None:
        self.told.append(("ready", worker))

    def lost(self, attempt: Attempt, reason: str, *, again: bool) -> None:
        self.told.append(("lost", attempt.job.name, reason, again))

    def gone(self, worker: str, reason: str) -> None:
        self.told.append(("gone", worker, reason))


Batch = Callable[..., JobQueue]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Run all four jobs with the journal of this test."""

    def run(pool: TwoWorkers, notes: PoolNotes | None = None, **policy: object) -> JobQueue:
        with open_journal(tmp_path / "jobs.jsonl.journal") as journal:
            queue = JobQueue(jobs_of(tmp_path, *OUTPUTS), journal, Policy(**policy), made_by="m")
            run_on_pool(queue, pool, notes or PoolNotes())
        return queue

    return run


def records(folder: Path, event: str) -> list[dict[str, object]]:
    found = map(json.loads, (folder / "jobs.jsonl.journal").read_text().splitlines())
    return [record for record in found if record["event"] == event]


def all_made_once(folder: Path) -> bool:
    done = sorted(str(record["key"]) for record in records(folder, "done"))
    rest = {"jobs.jsonl", "jobs.jsonl.journal", "portrait.jpg", "driving.mp4"}
    whole = all((folder / name).read_text() == name for name in OUTPUTS)
    return whole and done == list(OUTPUTS) and {path.name for path in folder.iterdir()} == rest | set(OUTPUTS)


def test_it_is_a_pool_with_a_watcher() -> None:
    assert isinstance(TwoWorkers(), Pool)
    assert isinstance(PoolNotes(), PoolWatcher)


def test_all_are_made_once(batch: Batch, tmp_path: Path) -> None:
    notes, pool = PoolNotes(), TwoWorkers()
    queue = batch(pool, notes)
    assert (len(queue.done), queue.failed, pool.stopped) == (4, [], False)
    assert all_made_once(tmp_path)
    assert ("ready", "two") in notes.told
    assert ("frames", "b.mp4", 1, 3) in notes.told
    assert {str(record["worker"]) for record in records(tmp_path, "started")} == {"one", "two"}
    assert len(batch(TwoWorkers()).earlier) == 4


def test_a_dead_worker_costs_an_attempt_and_no_more(batch: Batch, tmp_path: Path) -> None:
    notes, pool = PoolNotes(), TwoWorkers("made", "dies")
    queue = batch(pool, notes, retries=0)
    assert (len(queue.done), queue.failed) == (4, [])
    assert all_made_once(tmp_path)
    assert ("lost", "b.mp4", "killed", True) in notes.told
    assert ("started", "b.mp4", 2) in notes.told
    assert len(set(pool.marks)) == 5
    assert [(record["key"], record["reason"]) for record in records(tmp_path, "lost")] == [("b.mp4", "killed")]


def test_a_job_that_kills_its_workers_fails_in_the_end(batch: Batch, tmp_path: Path) -> None:
    jobs_of(tmp_path, *OUTPUTS)[0].job.source.write_bytes(b"never read")
    queue = batch(TwoWorkers("dies", "made", "made", "made", "dies", "dies"), losses=2)
    assert [failure.job.name for failure in queue.failed] == ["a.mp4"]
    assert queue.failed[0].reason == "its worker was lost 3 times: killed"
    assert len(queue.done) == 3
    assert not (tmp_path / "a.mp4").exists()
    assert len(batch(TwoWorkers()).done) == 1
    assert all_made_once(tmp_path)


def test_errors_are_tried_again_as_ever(batch: Batch, tmp_path: Path) -> None:
    pool = TwoWorkers(RuntimeError("the device was lost"), MediaError("damaged"))
    queue = batch(pool, retries=1)
    assert [(failure.job.name, failure.reason) for failure in queue.failed] == [("b.mp4", "MediaError: damaged")]
    assert len(queue.done) == 3
    assert pool.renewed == ["one"]  # the device may be lost to it, bad input is no fault of a worker


def test_losses_and_errors_are_counted_apart(batch: Batch) -> None:
    fates = ("dies", "dies", RuntimeError("x"), "dies", "dies", RuntimeError("x"))
    queue = batch(TwoWorkers(*fates), retries=1, losses=2)
    assert (len(queue.done), queue.failed) == (4, [])


def test_a_file_system_that_shows_another_file(batch: Batch, tmp_path: Path) -> None:
    queue = batch(TwoWorkers("torn"), retries=0)
    assert "not shared well" in queue.failed[0].reason
    assert not (tmp_path / "a.mp4").exists()


def test_wrong_paths_need_no_worker(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(inputs: object, output: Path) -> None:
        if output.name != "c.mp4":
            raise MediaError("does not exist")

    monkeypatch.setattr("synhead.inference.batch.pool.check_paths", check)
    pool = TwoWorkers()
    queue = batch(pool)
    assert (len(queue.failed), len(queue.done), len(pool.marks)) == (3, 1, 1)


def test_fail_fast_waits_for_what_has_begun(batch: Batch) -> None:
    queue = batch(TwoWorkers(MediaError("damaged"), "made"), keep_going=False)
    assert (len(queue.failed), len(queue.done), len(queue.waiting)) == (1, 1, 2)


def test_workers_that_all_die(batch: Batch, tmp_path: Path) -> None:
    pool = TwoWorkers(*["dies"] * 50)
    with pytest.raises(ClusterError, match=r"9 workers died and no job was done.*killed.*--workers"):
        batch(pool, losses=9)
    assert pool.stopped
    assert len(batch(TwoWorkers()).done) == 4
    assert all_made_once(tmp_path)


def test_a_worker_that_is_gone_without_a_job(batch: Batch) -> None:
    class Loading(TwoWorkers):
        def events(self) -> Sequence[Event]:
            return [*([] if self.marks[1:] else [Gone("three", None, "no memory")]), *super().events()]

    notes = PoolNotes()
    assert len(batch(Loading(), notes).done) == 4
    assert ("gone", "three", "no memory") not in notes.told[:1]


def test_ctrl_c_leaves_nothing(batch: Batch, tmp_path: Path) -> None:
    class Interrupted(TwoWorkers):
        def events(self) -> Sequence[Event]:
            if len(self.marks) > 2:
                for attempt in self._given.values():
                    attempt.staged.output.write_text("half")
                raise KeyboardInterrupt
            return super().events()

    pool = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        batch(pool)
    assert pool.stopped
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "b.mp4").exists()
    assert not (tmp_path / "c.mp4").exists()
    assert len(batch(TwoWorkers()).done) == 2
    assert all_made_once(tmp_path)


def test_what_a_worker_writes_after_it_was_given_up_is_swept(batch: Batch, tmp_path: Path) -> None:
    """Cut off, not dead: it writes on under the name of its attempt, and nobody gives that another."""

    class CutOff(TwoWorkers):
        def events(self) -> Sequence[Event]:
            told = super().events()
            if len(self.marks) > 2:
                for stray in strays:
                    stray.write_text("late")
            strays.extend(given for given in late if given not in strays)
            return told

        def give(self, worker: str, attempt: Attempt) -> None:
            super().give(worker, attempt)
            if attempt.job.key == "a.mp4" and not late:
                late.append(attempt.staged.output)

    strays: list[Path] = []
    late: list[Path] = []
    batch(CutOff("dies"))
    assert strays
    assert all_made_once(tmp_path)


def test_what_the_workers_of_a_killed_queue_write_is_swept(batch: Batch, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, *OUTPUTS)
    with open_journal(tmp_path / "jobs.jsonl.journal") as journal:  # taken, then killed
        stray = JobQueue(jobs, journal, Policy(), made_by="m").take("one")
    assert stray is not None

    class Late(TwoWorkers):
        def give(self, worker: str, attempt: Attempt) -> None:
            super().give(worker, attempt)
            stray.staged.output.write_text("late")

    batch(Late())
    assert all_made_once(tmp_path)
