"""The queue's jobs one after another, by whoever can run them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.batch.jobs_file import BatchJob
from synhead.inference.batch.journal import Journal
from synhead.inference.batch.queue import Attempt, JobQueue, Policy
from synhead.inference.clock import Clock
from synhead.inference.job import AnimationJob
from synhead.inference.pipeline import Progress, animate_video, check_paths
from synhead.inference.report import AnimationReport
from synhead.provenance.statement import Statement


@runtime_checkable
class Runner(Protocol):
    """Makes an output. Errors are raised, and nothing half-written is left."""

    @property
    def made_by(self) -> str:
        """Which model it runs."""

    def run(self, job: AnimationJob, options: AnimatorOptions, progress: Progress) -> AnimationReport:
        """Write ``job.output``."""


@runtime_checkable
class Watcher(Protocol):
    """Is told what happens."""

    def opened(self, queue: JobQueue) -> None:
        """The journal has been read, no attempt was made."""

    def started(self, attempt: Attempt) -> None:
        """An attempt begins."""

    def frames(self, attempt: Attempt, done: int, total: int | None) -> None:
        """So many frames of it are written."""

    def done(self, attempt: Attempt, report: AnimationReport) -> None:
        """Its output has its name."""

    def failed(self, attempt: Attempt, error: Exception, *, again: bool) -> None:
        """It failed; ``again``: another will be made."""


class AnimatorRunner:
    """One model in this process for all jobs."""

    def __init__(self, animator: Animator, statement: Statement) -> None:
        self._animator, self._statement = animator, statement

    @property
    def made_by(self) -> str:
        """See Runner."""
        return made_by(self._statement)

    def run(self, job: AnimationJob, options: AnimatorOptions, progress: Progress) -> AnimationReport:
        """See Runner."""
        animator = Animator(self._animator.model, options, engine=self._animator.engine)
        clock = Clock(looking=partial(_nothing_written, progress))
        return animate_video(animator, job, progress, statement=self._statement, clock=clock)


def _nothing_written(progress: Progress, what: str, done: int, total: int | None) -> None:
    """While faces are looked for: whoever watches may stop the job then too."""
    del what, done, total
    progress(0, None)


def made_by(statement: Statement) -> str:
    """What names a model in a journal: the weights' hash, or the name of untrained ones."""
    return statement.model_sha256 or statement.model


def run_jobs(jobs: Sequence[BatchJob], runner: Runner, journal: Journal, policy: Policy, watcher: Watcher) -> JobQueue:
    """All jobs that are not done, one at a time; the queue then says what became of them.

    Errors of a job are taken down and do not leave this function; Ctrl-C does, after the attempt has been cleared away.
    """
    queue = JobQueue(jobs, journal, policy, made_by=runner.made_by)
    watcher.opened(queue)
    while (attempt := queue.take()) is not None:
        watcher.started(attempt)
        job = attempt.job
        try:
            check_paths((job.job.source, job.job.driving), job.job.output)
            report = runner.run(attempt.staged, job.animator, partial(watcher.frames, attempt))
            queue.finish(attempt, report)
        except Exception as error:
            again = queue.fail(attempt, error)
            watcher.failed(attempt, error, again=again)
        except BaseException:
            queue.abandon(attempt)
            raise
        else:
            watcher.done(attempt, report)
    return queue
