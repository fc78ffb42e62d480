"""A worker: what it answers, and what it leaves behind."""

from __future__ import annotations

import os
import pickle
import traceback
from pathlib import Path

import pytest

from synhead.config.version import version
from synhead.data.errors import MediaError
from synhead.inference.animator import AnimatorOptions
from synhead.inference.batch.shared_view import View
from synhead.inference.batch.staging import seal
from synhead.inference.batch.worker import Broken, Worker, Written
from synhead.inference.job import AnimationJob
from synhead.inference.pipeline import Progress
from synhead.inference.report import AnimationReport
from tests.inference.batch.doubles import REPORT, FileRunner, jobs_of

NOTHING = View(probes={}, folders=())


@pytest.fixture
def job(tmp_path: Path) -> AnimationJob:
    return jobs_of(tmp_path, "a.mp4", options={"label": "x"})[0].job


def loaded(runner: FileRunner) -> Worker:
    worker = Worker(lambda: runner, {})
    worker.load(NOTHING)
    return worker


class Stuck(Exception):  # noqa: N818
    """An error that cannot be sent."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def test_what_it_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNHEAD_OF_THE_QUEUE", raising=False)
    worker = Worker(lambda: FileRunner(tmp_path / "calls", made_by="w"), {"SYNHEAD_OF_THE_QUEUE": "1"})
    identity = worker.load(View(probes={tmp_path / "gone": "1"}, folders=(tmp_path, tmp_path / "away")))
    assert (identity.made_by, identity.version, identity.process) == ("w", version(), os.getpid())
    assert identity.blind == (tmp_path, tmp_path / "away")
    assert os.environ["SYNHEAD_OF_THE_QUEUE"] == "1"
    monkeypatch.delenv("SYNHEAD_OF_THE_QUEUE")
    assert pickle.loads(pickle.dumps(identity)) == identity


def test_an_output_and_its_seal(tmp_path: Path, job: AnimationJob) -> None:
    worker = loaded(FileRunner(tmp_path / "calls"))
    outcome = worker.run(job, AnimatorOptions())
    assert outcome == Written(REPORT, seal(job.output))
    assert worker.frames() == (1, 3)
    assert pickle.loads(pickle.dumps(outcome)) == outcome


@pytest.mark.parametrize("error", [MediaError("cannot be read"), OSError(28, "full"), ZeroDivisionError("x")])
def test_an_error_keeps_its_kind_and_its_place(tmp_path: Path, job: AnimationJob, error: Exception) -> None:
    def fail(name: str) -> None:
        raise error

    outcome = loaded(FileRunner(tmp_path / "calls", fail)).run(job, AnimatorOptions())
    assert isinstance(outcome, Broken)
    raised = pickle.loads(pickle.dumps(outcome)).raised()
    assert (type(raised), str(raised)) == (type(error), str(error))
    assert "in fail" in "".join(traceback.format_exception(raised))


def test_an_error_that_cannot_be_sent(tmp_path: Path, job: AnimationJob) -> None:
    def fail(name: str) -> None:
        raise Stuck("very", "odd")

    outcome = loaded(FileRunner(tmp_path / "calls", fail)).run(job, AnimatorOptions())
    assert isinstance(outcome, Broken)
    assert (type(outcome.error), str(outcome.error)) == (RuntimeError, "Stuck: very odd")


def test_stopped(tmp_path: Path, job: AnimationJob) -> None:
    class Slow(FileRunner):
        def run(self, job: AnimationJob, options: AnimatorOptions, progress: Progress) -> AnimationReport:
            progress(1, None)
            worker.stop()
            return super().run(job, options, progress)

    worker = loaded(Slow(tmp_path / "calls"))
    assert worker.run(job, AnimatorOptions()) is None
    assert not job.output.exists()
