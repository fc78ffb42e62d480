"""Logs: one file a job whatever its name, later attempts below earlier ones."""

from __future__ import annotations

import json
from pathlib import Path

from synhead.inference.batch.journal import Record
from synhead.inference.batch.log import JobLog
from synhead.inference.batch.queue import Attempt
from tests.inference.batch.doubles import REPORT, jobs_of


def test_attempts_of_a_job(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, "out/a.mp4")
    log = JobLog(tmp_path / "logs" / "today")
    try:
        raise RuntimeError("the device was lost")
    except RuntimeError as error:
        log.failed(Attempt(job=job, mark="x", number=1), error)
    JobLog(tmp_path / "logs" / "today").done(Attempt(job=job, mark="y", number=2), REPORT)
    (path,) = (tmp_path / "logs" / "today").iterdir()
    assert path.name == "out%2Fa.mp4.log"
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["state"], first["attempt"], first["reason"]) == ("failed", 1, "the device was lost")
    assert "test_attempts_of_a_job" in first["traceback"]
    assert (second["state"], second["output"], second["report"]["frames"]) == ("done", "out/a.mp4", 3)


def test_names_stay_apart_and_in_the_folder(tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a%2Fb", "..", "../../a", "/a", "x" * 5000, "x" * 5001, "Ä" * 300, "CON:*?"]
    paths = [JobLog(tmp_path).path(name) for name in names]
    assert len(set(paths)) == len(names)
    for path in paths:
        assert path.parent == tmp_path
        path.touch()
    assert len(list(tmp_path.iterdir())) == len(names)


def test_a_worker_is_named(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, "a.mp4")
    JobLog(tmp_path).lost(Attempt(job=job, mark="x", number=1, worker="worker 3 (host, process 5)"), "killed")
    told = json.loads((tmp_path / "a.mp4.log").read_text())
    assert (told["state"], told["worker"], told["reason"]) == ("lost", "worker 3 (host, process 5)", "killed")


def test_what_a_stop_left_out_is_recalled_once(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, "a.mp4")
    log = JobLog(tmp_path)
    log.failed(Attempt(job=job, mark="x", number=1), RuntimeError("once"))
    done = Record(event="done", key=job.key, attempt="y", number=2, worker="w", report=REPORT.to_json())
    for _ in range(2):
        log.recall(job, done)
    first, second = map(json.loads, (tmp_path / "a.mp4.log").read_text().splitlines())
    assert first["state"] == "failed"
    assert (second["state"], second["attempt"], second["worker"], second["report"]["frames"]) == ("done", 2, "w", 3)
