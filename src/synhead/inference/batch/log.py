"""A file a job that says how its attempts ended: JSON lines for people who look for a cause."""

from __future__ import annotations

import hashlib
import json
import traceback
from pathlib import Path
from urllib.parse import quote

from synhead.inference.batch.jobs_file import BatchJob
from synhead.inference.batch.journal import Record
from synhead.inference.batch.queue import Attempt
from synhead.inference.report import AnimationReport

MAX_NAME = 180


class JobLog:
    """Files ``NAME.log`` in a folder, made if it is not there; later runs append."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def path(self, name: str) -> Path:
        """The file of a job: its name with all but letters, digits and ``_.-~ `` escaped, cut if that is very long."""
        plain = quote(name, safe=" ")
        if len(plain) > MAX_NAME:
            plain = f"{plain[:MAX_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        return self._folder / f"{plain}.log"

    def done(self, attempt: Attempt, report: AnimationReport) -> None:
        """Append the report."""
        self._append(attempt, {"state": "done", "report": json.loads(report.to_json())})

    def recall(self, job: BatchJob, record: Record) -> None:
        """Append the report of a job that the journal calls done, if a stop came before it was written here."""
        if record.report is not None and not _ends_done(self.path(job.name)):
            attempt = Attempt(job=job, mark=record.attempt, number=record.number, worker=record.worker)
            self._append(attempt, {"state": "done", "report": json.loads(record.report)})

    def failed(self, attempt: Attempt, error: Exception) -> None:
        """Append the reason and where it arose."""
        trace = "".join(traceback.format_exception(error))
        self._append(attempt, {"state": "failed", "reason": str(error), "traceback": trace})

    def lost(self, attempt: Attempt, reason: str) -> None:
        """Append what became of its worker."""
        self._append(attempt, {"state": "lost", "reason": reason})

    def _append(self, attempt: Attempt, facts: dict[str, object]) -> None:
        job = attempt.job
        about: dict[str, object] = {"name": job.name, "line": job.line, "output": job.key, "attempt": attempt.number}
        if attempt.worker:
            about["worker"] = attempt.worker
        with self.path(job.name).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**about, **facts}) + "\n")


def _ends_done(path: Path) -> bool:
    """Whether the last line says so; a line that was cut off does not."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["state"] == "done")
    except (FileNotFoundError, IndexError, ValueError):
        return False
