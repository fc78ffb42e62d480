"""Jobs without media, and a runner without a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from synhead.inference.animator import AnimatorOptions
from synhead.inference.batch.jobs_file import BatchJob, read_jobs
from synhead.inference.batch.queue import Attempt, JobQueue
from synhead.inference.job import AnimationJob
from synhead.inference.pipeline import Progress
from synhead.inference.report import AnimationReport, StageSeconds

REPORT = AnimationReport(
    frames=3,
    skipped=0,
    rate=Fraction(25),
    size=(64, 64),
    pasted=False,
    audio="none",
    marked="marked",
    source_crops=(),
    driving_crop=None,
    reference=0,
    reference_reason="the first",
    faceless=(),
    source_faceless=(),
    engine="none",
    precision="fp32",
    warnings=(),
    seconds=StageSeconds(decode=0.0, faces=0.0, model=0.0, paste=0.0, encode=0.0),
)


def write_jobs(folder: Path, *lines: dict[str, object]) -> Path:
    """A jobs file beside its two inputs."""
    for name in ("portrait.jpg", "driving.mp4"):
        (folder / name).write_bytes(b"never read")
    path = folder / "jobs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def line(output: str, **fields: object) -> dict[str, object]:
    return {"source": "portrait.jpg", "driving": "driving.mp4", "output": output, **fields}


def jobs_of(folder: Path, *outputs: str, **fields: object) -> tuple[BatchJob, ...]:
    return read_jobs(write_jobs(folder, *(line(output, **fields) for output in outputs)), batch_size=8)


class FileRunner:
    """Writes the job's label into its output, and down what it did into a file that survives it.

    ``trouble``: called with the output's staged name before anything is written.
    """

    def __init__(self, calls: Path, trouble: Callable[[str], None] | None = None, *, made_by: str = "double") -> None:
        self._calls, self._trouble, self.made_by = calls, trouble, made_by

    def run(self, job: AnimationJob, options: AnimatorOptions, progress: Progress) -> AnimationReport:
        del options
        name = job.output.name.split("-")[0].removeprefix(".") + job.output.suffix
        if self._trouble is not None:
            self._trouble(name)
        progress(1, 3)
        if job.output.suffix:
            job.output.write_text(str(job.options.label))
        else:
            job.output.mkdir()
            (job.output / "sequence.json").write_text(json.dumps({"format": "synhead-png-sequence", "frames": []}))
        with self._calls.open("a") as file:
            file.write(f"{name}\n")
        return REPORT

    def finished(self) -> list[str]:
        """Outputs of all runs that came to their end, in order."""
        return self._calls.read_text().split() if self._calls.exists() else []


class Notes:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def opened(self, queue: JobQueue) -> None:
        self.told.append(("opened", len(queue.earlier), len(queue.changed)))

    def started(self, attempt: Attempt) -> None:
        self.told.append(("started", attempt.job.name, attempt.number))

    def frames(self, attempt: Attempt, done: int, total: int | None) -> None:
        self.told.append(("frames", attempt.job.name, done, total))

    def done(self, attempt: Attempt, report: AnimationReport) -> None:
        self.told.append(("done", attempt.job.name, report.frames))

    def failed(self, attempt: Attempt, error: Exception, *, again: bool) -> None:
        self.told.append(("failed", attempt.job.name, str(error), again))
