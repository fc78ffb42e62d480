"""A batch from its beginning to its end: what is made, tried again, left alone, and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.config import ConfigError
from synhead.data.errors import MediaError
from synhead.inference.animator import AnimatorOptions
from synhead.inference.batch.jobs_file import BatchJob, read_jobs
from synhead.inference.batch.journal import open_journal
from synhead.inference.batch.queue import JobQueue, Policy
from synhead.inference.batch.run import run_jobs
from synhead.inference.job import AnimationJob
from synhead.inference.pipeline import Progress
from synhead.inference.report import AnimationReport
from tests.inference.batch.doubles import REPORT, FileRunner, Notes, jobs_of, line, write_jobs

Batch = Callable[..., JobQueue]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Run jobs with the journal of this test."""

    def run(jobs: tuple[BatchJob, ...], runner: FileRunner, notes: Notes | None = None, **policy: object) -> JobQueue:
        with open_journal(tmp_path / "jobs.jsonl.journal") as journal:
            return run_jobs(jobs, runner, journal, Policy(**policy), notes or Notes())

    return run


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls" / "log"


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} - {"portrait.jpg", "driving.mp4", "jobs.jsonl", "calls"}


def record(folder: Path, event: str) -> list[dict[str, object]]:
    lines = (folder / "jobs.jsonl.journal").read_text().splitlines()
    return [found for found in map(json.loads, lines) if found["event"] == event]


def names(jobs: list[BatchJob]) -> list[str]:
    return [job.name for job in jobs]


def test_all_are_made_once(batch: Batch, calls: Path, tmp_path: Path) -> None:
    runner, notes = FileRunner(calls), Notes()
    jobs = jobs_of(tmp_path, "a.mp4", "b.mp4", "c", options={"label": "x"})
    queue = batch(jobs, runner, notes)
    assert names(queue.done) == runner.finished() == ["a.mp4", "b.mp4", "c"]
    assert (tmp_path / "b.mp4").read_text() == "x"
    assert files(tmp_path) == {"a.mp4", "b.mp4", "c", "jobs.jsonl.journal"}
    assert notes.told[:4] == [
        ("opened", 0, 0),
        ("started", "a.mp4", 1),
        ("frames", "a.mp4", 1, 3),
        ("done", "a.mp4", 3),
    ]
    again = batch(jobs, runner)
    assert (len(again.earlier), again.done, runner.finished()) == (3, [], ["a.mp4", "b.mp4", "c"])
    done = record(tmp_path, "done")
    assert [found["key"] for found in done] == ["a.mp4", "b.mp4", "c"]
    assert done[0]["size"] == 1
    assert done[0]["report"]["frames"] == 3


def test_a_lost_output_is_made_again(batch: Batch, calls: Path, tmp_path: Path) -> None:
    runner, jobs = FileRunner(calls), jobs_of(tmp_path, "a.mp4", "b.mp4")
    batch(jobs, runner)
    (tmp_path / "a.mp4").unlink()
    assert names(batch(jobs, runner).done) == ["a.mp4"]
    assert runner.finished() == ["a.mp4", "b.mp4", "a.mp4"]


def test_a_changed_job_is_made_again_and_an_earlier_output_stands_until_then(
    batch: Batch, calls: Path, tmp_path: Path
) -> None:
    batch(jobs_of(tmp_path, "a.mp4", "b.mp4", options={"label": "old"}), FileRunner(calls))
    lines = (line("a.mp4", options={"label": "new"}), line("b.mp4", options={"label": "old"}))
    jobs, notes = read_jobs(write_jobs(tmp_path, *lines), batch_size=8), Notes()

    def look(name: str) -> None:
        assert (tmp_path / name).read_text() == "old"

    queue = batch(jobs, FileRunner(calls, look), notes)
    assert (names(queue.done), names(queue.earlier), names(queue.changed)) == (["a.mp4"], ["b.mp4"], ["a.mp4"])
    assert ((tmp_path / "a.mp4").read_text(), (tmp_path / "b.mp4").read_text()) == ("new", "old")
    back = batch(jobs_of(tmp_path, "a.mp4", "b.mp4", options={"label": "old"}), FileRunner(calls))
    assert names(back.done) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "old"


def test_another_model_makes_all_again(batch: Batch, calls: Path, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, "a.mp4", "c")
    batch(jobs, FileRunner(calls))
    queue = batch(jobs, FileRunner(calls, made_by="better weights"))
    assert names(queue.done) == ["a.mp4", "c"]
    assert files(tmp_path) == {"a.mp4", "c", "jobs.jsonl.journal"}


def test_an_error_that_passes(batch: Batch, calls: Path, tmp_path: Path) -> None:
    bad = ["a.mp4"]

    def once(name: str) -> None:
        if name in bad:
            bad.remove(name)
            raise RuntimeError("the device was lost")

    runner, notes = FileRunner(calls, once), Notes()
    queue = batch(jobs_of(tmp_path, "a.mp4", "b.mp4"), runner, notes)
    assert runner.finished() == ["b.mp4", "a.mp4"]
    assert not queue.failed
    assert ("failed", "a.mp4", "the device was lost", True) in notes.told
    assert ("started", "a.mp4", 2) in notes.told
    assert [(found["reason"], found["number"]) for found in record(tmp_path, "failed")] == [
        ("RuntimeError: the device was lost", 1)
    ]


@pytest.mark.parametrize(
    ("error", "retries", "attempts"),
    [(RuntimeError("x"), 2, 3), (RuntimeError("x"), 0, 1), (OSError("x"), 1, 2), (MediaError("x"), 5, 1)],
)
def test_attempts_at_a_job_that_fails(
    batch: Batch, calls: Path, tmp_path: Path, error: Exception, retries: int, attempts: int
) -> None:
    def fail(name: str) -> None:
        if name == "a.mp4":
            raise error

    notes, jobs = Notes(), jobs_of(tmp_path, "a.mp4", "b.mp4")
    queue = batch(jobs, FileRunner(calls, fail), notes, retries=retries)
    assert sum(told[:2] == ("started", "a.mp4") for told in notes.told) == attempts
    assert [(failure.job.name, failure.reason) for failure in queue.failed] == [("a.mp4", f"{type(error).__name__}: x")]
    assert names(queue.done) == ["b.mp4"]
    assert files(tmp_path) == {"b.mp4", "jobs.jsonl.journal"}
    later = batch(jobs, FileRunner(calls))
    assert (names(later.earlier), names(later.done)) == (["b.mp4"], ["a.mp4"])


def test_fail_fast(batch: Batch, calls: Path, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    jobs[1].job.source.rename(tmp_path / "elsewhere.jpg")
    queue = batch(jobs, FileRunner(calls), keep_going=False)
    assert (len(queue.failed), [job.name for job in queue.waiting]) == (1, ["b.mp4", "c.mp4"])
    assert "does not exist" in queue.failed[0].reason


def test_an_output_that_may_not_be_replaced(batch: Batch, calls: Path, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, "c")

    def a_folder_appears(name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "diary.txt").write_text("mine")

    queue = batch(jobs, FileRunner(calls, a_folder_appears))
    assert "holds other files" in queue.failed[0].reason
    assert (tmp_path / "c" / "diary.txt").read_text() == "mine"
    assert files(tmp_path) == {"c", "jobs.jsonl.journal"}


def test_what_waits_needs_its_inputs_no_more(
    batch: Batch, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after ``made``: the next run only renames."""

    def stop(staged: Path, output: Path) -> None:
        del staged, output
        raise KeyboardInterrupt

    jobs, runner = jobs_of(tmp_path, "a.mp4"), FileRunner(calls)
    with monkeypatch.context() as patch:
        patch.setattr("synhead.inference.batch.queue.publish", stop)
        with pytest.raises(KeyboardInterrupt):
            batch(jobs, runner)
    assert not (tmp_path / "a.mp4").exists()
    (tmp_path / "driving.mp4").unlink()
    assert names(batch(jobs, runner).earlier) == runner.finished() == ["a.mp4"]
    assert files(tmp_path) == {"a.mp4", "jobs.jsonl.journal"}


def test_what_waits_is_forgotten_if_its_line_changed(
    batch: Batch, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(staged: Path, output: Path) -> None:
        del staged, output
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("synhead.inference.batch.queue.publish", stop)
        with pytest.raises(KeyboardInterrupt):
            batch(jobs_of(tmp_path, "a.mp4", options={"label": "old"}), FileRunner(calls))
    queue = batch(jobs_of(tmp_path, "a.mp4", options={"label": "new"}), FileRunner(calls))
    assert names(queue.done) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "new"
    assert files(tmp_path) == {"a.mp4", "jobs.jsonl.journal"}


def test_what_waits_is_looked_at(batch: Batch, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(staged: Path, output: Path) -> None:
        del output
        staged.write_text("half")
        raise KeyboardInterrupt

    jobs, runner = jobs_of(tmp_path, "a.mp4", options={"label": "x"}), FileRunner(calls)
    with monkeypatch.context() as patch:
        patch.setattr("synhead.inference.batch.queue.publish", damage)
        with pytest.raises(KeyboardInterrupt):
            batch(jobs, runner)
    assert names(batch(jobs, runner).done) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "x"
    assert files(tmp_path) == {"a.mp4", "jobs.jsonl.journal"}


def test_ctrl_c_leaves_nothing_and_the_next_run_goes_on(batch: Batch, calls: Path, tmp_path: Path) -> None:
    def stop(name: str) -> None:
        if name == "b.mp4":
            raise KeyboardInterrupt

    jobs = jobs_of(tmp_path, "a.mp4", "b.mp4")
    with pytest.raises(KeyboardInterrupt):
        batch(jobs, FileRunner(calls, stop))
    assert files(tmp_path) == {"a.mp4", "jobs.jsonl.journal"}
    runner = FileRunner(calls)
    batch(jobs, runner)
    assert runner.finished() == ["a.mp4", "b.mp4"]


def test_a_runner_that_writes_nothing(batch: Batch, calls: Path, tmp_path: Path) -> None:
    class Idle(FileRunner):
        def run(self, job: AnimationJob, options: AnimatorOptions, progress: Progress) -> AnimationReport:
            del job, options, progress
            return REPORT

    queue = batch(jobs_of(tmp_path, "a.mp4"), Idle(calls), retries=0)
    assert "wrote nothing" in queue.failed[0].reason


def test_retries_are_not_negative() -> None:
    with pytest.raises(ConfigError, match="retries -1"):
        Policy(retries=-1)
