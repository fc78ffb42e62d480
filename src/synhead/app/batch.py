"""``synhead batch``: a file of animations, each made exactly once however often it is stopped, here or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synhead.app.animate import statement_of, warn_if_untrained
from synhead.app.console import remark, say
from synhead.app.errors import explain
from synhead.app.models import EngineChoice, ModelChoice, choose, describe, load_animator
from synhead.app.options import (
    CheckpointOption,
    DeviceOption,
    EngineOption,
    GraphOption,
    PrecisionOption,
    PresetOption,
)
from synhead.config import ConfigError

if TYPE_CHECKING:
    from synhead.app.progress import BatchProgress
    from synhead.inference.batch.log import JobLog
    from synhead.inference.batch.queue import Attempt, JobQueue
    from synhead.inference.batch.ray_cluster import RayOptions
    from synhead.inference.batch.run import AnimatorRunner
    from synhead.inference.batch.worker import MakeRunner
    from synhead.inference.report import AnimationReport

EXIT_SOME_FAILED = 1
RAY = "ray"


def batch(
    jobs: Annotated[Path, typer.Argument(metavar="JOBS", help="JSON lines, an animation each; see docs/batch.md.")],
    checkpoint: CheckpointOption = None,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    graph: GraphOption = None,
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
    where: Annotated[
        Literal["here", "ray"], typer.Option("--on", help="here: in this process; ray: by workers of a Ray cluster.")
    ] = "here",
    workers: Annotated[
        int | None, typer.Option(min=1, help="On Ray: how many; default: as many as there is room for.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT|auto", help="On Ray: a running cluster; default: one of this machine alone."),
    ] = None,
    cpus_per_worker: Annotated[int | None, typer.Option(min=1, help="On Ray; default: 1.")] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0.0, help="On Ray; default: 1 if the cluster has any and --device is not cpu.")
    ] = None,
) -> None:
    """Make the animations of JOBS; the same command goes on where it was stopped."""
    from synhead.app.progress import BatchProgress  # heavy imports wait until a command runs
    from synhead.inference.batch.jobs_file import read_jobs
    from synhead.inference.batch.journal import open_journal
    from synhead.inference.batch.log import JobLog
    from synhead.inference.batch.queue import JobQueue, Policy
    from synhead.inference.batch.run import made_by, run_jobs

    asked = _Asked(workers=workers, address=address, cpus=cpus_per_worker, gpus=gpus_per_worker)
    options = asked.options(device, on_ray=RAY in (where, engine))
    chosen = EngineChoice(name="auto" if engine == RAY else engine, graph=graph and graph.absolute())
    listed = read_jobs(jobs, batch_size=batch_size)
    path = jobs.with_name(f"{jobs.name}.journal")
    with open_journal(path) as journal:
        choice, policy = choose(checkpoint, preset), Policy(retries=retries, keep_going=keep_going)
        facts = describe(choice)
        warn_if_untrained(facts)
        load = partial(load_runner, _anywhere(choice), device=device, precision=precision, engine=chosen)
        with BatchProgress() as progress:
            teller = _Teller(progress, None if log is None else JobLog(log), len(listed))
            if options is None:
                queue = run_jobs(listed, load(), journal, policy, teller)
            else:
                queue = JobQueue(listed, journal, policy, made_by=made_by(statement_of(facts)))
                _run_on_ray(queue, load, options, teller, path)
    _sum_up(queue)


def load_runner(
    choice: ModelChoice, *, device: str, precision: Literal["auto", "fp32", "bf16"], engine: EngineChoice
) -> AnimatorRunner:
    """The chosen model in this process, which may be a worker's."""
    from synhead.inference.animator import AnimatorOptions
    from synhead.inference.batch.run import AnimatorRunner

    options = AnimatorOptions()
    animator, loaded = load_animator(choice, device=device, precision=precision, options=options, engine=engine)
    return AnimatorRunner(animator, statement_of(loaded))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The options about Ray as they were given."""

    workers: int | None
    address: str | None
    cpus: int | None
    gpus: float | None

    def options(self, device: str, *, on_ray: bool) -> RayOptions | None:
        """Understood; None for a run in this process. Raises ConfigError."""
        from synhead.inference.batch.ray_cluster import RayOptions

        if not on_ray:
            if self != _Asked(workers=None, address=None, cpus=None, gpus=None):
                raise ConfigError("--workers, --address, --cpus-per-worker and --gpus-per-worker need --on ray")
            return None
        if device.startswith("cuda:"):
            raise ConfigError(f"on Ray each worker gets GPUs of its own; give --device cuda instead of {device}")
        if device == "cpu" and self.gpus:
            raise ConfigError("--device cpu needs no --gpus-per-worker; leave one of them out")
        gpus = 0.0 if device == "cpu" else 1.0 if device == "cuda" and self.gpus is None else self.gpus
        return RayOptions(address=self.address, workers=self.workers, cpus=self.cpus or 1, gpus=gpus)


def _anywhere(choice: ModelChoice) -> ModelChoice:
    """The choice as it is to be named in another working folder."""
    if choice.checkpoint is None or not Path(choice.checkpoint).exists():
        return choice
    return replace(choice, checkpoint=str(Path(choice.checkpoint).absolute()))


def _run_on_ray(queue: JobQueue, load: MakeRunner, options: RayOptions, teller: _Teller, mark: Path) -> None:
    from synhead.inference.batch.pool import run_on_pool
    from synhead.inference.batch.ray_pool import Wanted, open_ray_pool

    teller.opened(queue)
    if queue.ready:
        with open_ray_pool(Wanted(make=load, queue=queue, mark=mark), options) as pool:
            run_on_pool(queue, pool, teller)


class _Teller:
    """Tells the person, the bars and the log; a PoolWatcher."""

    def __init__(self, progress: BatchProgress, log: JobLog | None, total: int) -> None:
        self._progress, self._log, self._total = progress, log, total
        self._ended = 0

    def opened(self, queue: JobQueue) -> None:
        """See Watcher."""
        if queue.earlier:
            remark(f"{len(queue.earlier)} of {self._total} jobs were done before")
        for job in queue.earlier:
            if self._log is not None and (record := queue.record(job)) is not None:
                self._log.recall(job, record)
        for job in queue.changed:
            remark(f"note: {job.name}: its line or the model has changed since; it is made again", style="yellow")
        self._advance(len(queue.earlier))

    def started(self, attempt: Attempt) -> None:
        """See Watcher."""
        self._progress.begin(attempt.mark, attempt.job.name)

    def frames(self, attempt: Attempt, done: int, total: int | None) -> None:
        """See Watcher."""
        self._progress.frames(attempt.mark, done, total)

    def done(self, attempt: Attempt, report: AnimationReport) -> None:
        """See Watcher."""
        self._progress.end(attempt.mark)
        if self._log is not None:
            self._log.done(attempt, report)
        for warning in report.warnings:
            remark(f"note: {attempt.job.name}: {warning}", style="yellow")
        self._advance(1)
        say(f"{self._ended}/{self._total} {attempt.job.name}: {report.frames} frames in {attempt.job.job.output}")

    def failed(self, attempt: Attempt, error: Exception, *, again: bool) -> None:
        """See Watcher."""
        self._progress.end(attempt.mark)
        if self._log is not None:
            self._log.failed(attempt, error)
        self._advance(0 if again else 1)
        fault = f"{type(error).__name__}, a fault of the program; --log DIR keeps its traceback"
        next_step = "; it will be tried again" if again else ""
        remark(f"{attempt.job.name}: {explain(error) or fault}{next_step}", style="yellow" if again else "red")

    def ready(self, worker: str) -> None:
        """See PoolWatcher."""
        remark(f"{worker} is ready")

    def lost(self, attempt: Attempt, reason: str, *, again: bool) -> None:
        """See PoolWatcher."""
        self._progress.end(attempt.mark)
        if self._log is not None:
            self._log.lost(attempt, reason)
        self._advance(0 if again else 1)
        next_step = "it will be made again" if again else "too often: look at the memory of the machines"
        text = f"{attempt.job.name}: {attempt.worker} is gone; {next_step} ({reason})"
        remark(text, style="yellow" if again else "red")

    def gone(self, worker: str, reason: str) -> None:
        """See PoolWatcher."""
        remark(f"{worker} is gone ({reason})", style="yellow")

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
