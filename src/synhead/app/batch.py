"""``synhead batch``: a file of animations, made one after another, each exactly once however often it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synhead.app.animate import statement_of, warn_if_untrained
from synhead.app.console import remark, say
from synhead.app.errors import explain
from synhead.app.models import choose, load_animator
from synhead.app.options import CheckpointOption, DeviceOption, PrecisionOption, PresetOption

if TYPE_CHECKING:
    from synhead.app.progress import BatchProgress
    from synhead.inference.batch.log import JobLog
    from synhead.inference.batch.queue import Attempt, JobQueue
    from synhead.inference.report import AnimationReport

EXIT_SOME_FAILED = 1


def batch(
    jobs: Annotated[Path, typer.Argument(metavar="JOBS", help="JSON lines, an animation each; see docs/batch.md.")],
    checkpoint: CheckpointOption = None,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    retries: Annotated[
        int, typer.Option(min=0, help="Further attempts at a job after an error that may pass; bad input is not tried.")
    ] = 1,
    keep_going: Annotated[
        bool, typer.Option("--keep-going/--fail-fast", help="Whether other jobs go on after one has failed.")
    ] = True,
    log: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A file a job here: reports, reasons, tracebacks.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch", min=1, help="Driving frames run together.")] = 8,
) -> None:
    """Make the animations of JOBS; the same command goes on where it was stopped."""
    from synhead.app.progress import BatchProgress  # heavy imports wait until a command runs
    from synhead.inference.animator import AnimatorOptions
    from synhead.inference.batch.jobs_file import read_jobs
    from synhead.inference.batch.journal import open_journal
    from synhead.inference.batch.log import JobLog
    from synhead.inference.batch.queue import Policy
    from synhead.inference.batch.run import AnimatorRunner, run_jobs

    listed = read_jobs(jobs, batch_size=batch_size)
    with open_journal(jobs.with_name(f"{jobs.name}.journal")) as journal:
        animator, loaded = load_animator(
            choose(checkpoint, preset), device=device, precision=precision, options=AnimatorOptions()
        )
        warn_if_untrained(loaded)
        runner = AnimatorRunner(animator, statement_of(loaded))
        with BatchProgress() as progress:
            teller = _Teller(progress, None if log is None else JobLog(log), len(listed))
            queue = run_jobs(listed, runner, journal, Policy(retries=retries, keep_going=keep_going), teller)
    _sum_up(queue)


class _Teller:
    """Tells the person, the bars and the log; a Watcher."""

    def __init__(self, progress: BatchProgress, log: JobLog | None, total: int) -> None:
        self._progress, self._log, self._total = progress, log, total
        self._ended = 0

    def opened(self, queue: JobQueue) -> None:
        """See Watcher."""
        if queue.earlier:
            remark(f"{len(queue.earlier)} of {self._total} jobs were done before")
        for job in queue.changed:
            remark(f"note: {job.name}: its line or the model has changed since; it is made again", style="yellow")
        self._advance(len(queue.earlier))

    def started(self, attempt: Attempt) -> None:
        """See Watcher."""
        self._progress.begin(attempt.job.name)

    def frames(self, attempt: Attempt, done: int, total: int | None) -> None:
        """See Watcher."""
        del attempt
        self._progress.frames(done, total)

    def done(self, attempt: Attempt, report: AnimationReport) -> None:
        """See Watcher."""
        if self._log is not None:
            self._log.done(attempt, report)
        for warning in report.warnings:
            remark(f"note: {attempt.job.name}: {warning}", style="yellow")
        self._advance(1)
        say(f"{self._ended}/{self._total} {attempt.job.name}: {report.frames} frames in {attempt.job.job.output}")

    def failed(self, attempt: Attempt, error: Exception, *, again: bool) -> None:
        """See Watcher."""
        if self._log is not None:
            self._log.failed(attempt, error)
        self._advance(0 if again else 1)
        fault = f"{type(error).__name__}, a fault of the program; --log DIR keeps its traceback"
        next_step = "; it will be tried again" if again else ""
        remark(f"{attempt.job.name}: {explain(error) or fault}{next_step}", style="yellow" if again else "red")

    def _advance(self, jobs: int) -> None:
        self._ended += jobs
        self._progress.jobs(self._ended, self._total)


def _sum_up(queue: JobQueue) -> None:
    """What became of all; exit code 1 if some failed."""
    parts = [f"{len(queue.done)} done", f"{len(queue.earlier)} done before", f"{len(queue.failed)} failed"]
    if queue.waiting:
        parts.append(f"{len(queue.waiting)} not tried")
    say(", ".join(parts))
    for failure in queue.failed:
        remark(f"failed: line {failure.job.line}, {failure.job.name}: {failure.reason}", style="red")
    if queue.failed:
        remark("the same command tries failed jobs again and leaves what is done")
        raise typer.Exit(EXIT_SOME_FAILED)
