"""The queue's jobs, several at a time, by workers elsewhere that may die: the queue stays here and decides alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from synhead.data.errors import MediaError
from synhead.inference.batch.errors import ClusterError
from synhead.inference.batch.queue import BAD_INPUT, Attempt, JobQueue
from synhead.inference.batch.run import Watcher
from synhead.inference.batch.worker import Broken, Written
from synhead.inference.pipeline import check_paths


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has loaded."""

    worker: str


@dataclass(frozen=True, slots=True)
class Frames:
    """So many frames of an attempt are written."""

    mark: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt came to an end."""

    mark: str
    outcome: Written | Broken


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker died, with the attempt it was making if there was one; another is on its way."""

    worker: str
    mark: str | None
    reason: str


Event = Ready | Frames | Ended | Gone


@runtime_checkable
class Pool(Protocol):
    """Workers, by name."""

    @property
    def size(self) -> int:
        """How many there are when all have loaded."""

    def idle(self) -> Sequence[str]:
        """Those that have loaded and wait for a job."""

    def give(self, worker: str, attempt: Attempt) -> None:
        """Let an idle one make an attempt."""

    def events(self) -> Sequence[Event]:
        """What has happened; waits a moment if nothing has."""

    def renew(self, worker: str) -> None:
        """Put a fresh one into the place of an idle one."""

    def stop(self) -> None:
        """End all attempts; afterwards nobody writes any more, as far as can be known."""


@runtime_checkable
class PoolWatcher(Watcher, Protocol):
    """Is told what happens, of workers too."""

    def ready(self, worker: str) -> None:
        """A worker has loaded."""

    def lost(self, attempt: Attempt, reason: str, *, again: bool) -> None:
        """The attempt's worker is gone; ``again``: another attempt will be made."""

    def gone(self, worker: str, reason: str) -> None:
        """A worker without a job is gone."""


def run_on_pool(queue: JobQueue, pool: Pool, watcher: PoolWatcher) -> None:
    """Make all jobs of ``queue`` that are not done.

    Errors of a job are taken down and do not leave this function; Ctrl-C does, after its attempts have been cleared
    away. Raises ClusterError if workers die one after another and nothing gets done.
    """
    run = _Run(queue, pool, watcher)
    try:
        while queue.ready or run.out:
            run.give()
            for event in pool.events():
                run.take_in(event)
    except BaseException:
        pool.stop()
        for attempt in run.out.values():
            queue.abandon(attempt)
        queue.sweep()
        raise
    queue.sweep()


class _Run:
    """``out``: attempts that workers are making, by mark."""

    def __init__(self, queue: JobQueue, pool: Pool, watcher: PoolWatcher) -> None:
        self._queue, self._pool, self._watcher = queue, pool, watcher
        self._in_vain = 0
        self.out: dict[str, Attempt] = {}

    def give(self) -> None:
        """Each idle worker gets an attempt, as long as there are any."""
        for worker in self._pool.idle():
            while (attempt := self._queue.take(worker)) is not None:
                self.out[attempt.mark] = attempt
                self._watcher.started(attempt)
                if self._possible(attempt):
                    self._pool.give(worker, attempt)
                    break

    def take_in(self, event: Event) -> None:
        """Let the queue decide what follows from it."""
        if isinstance(event, Ready):
            self._watcher.ready(event.worker)
        elif isinstance(event, Frames):
            if event.mark in self.out:
                self._watcher.frames(self.out[event.mark], event.done, event.total)
        elif isinstance(event, Gone):
            self._gone(event)
        elif isinstance(event.outcome, Written):
            self._written(self.out.pop(event.mark), event.outcome)
        else:
            self._broken(self.out.pop(event.mark), event.outcome)

    def _possible(self, attempt: Attempt) -> bool:
        """Wrong paths need no worker to be found."""
        job = attempt.job.job
        try:
            check_paths((job.source, job.driving), job.output)
        except (MediaError, OSError) as error:
            self._failed(self.out.pop(attempt.mark), error)
            return False
        return True

    def _written(self, attempt: Attempt, outcome: Written) -> None:
        try:
            self._queue.finish(attempt, outcome.report, outcome.whole)
        except (MediaError, OSError) as error:
            self._failed(attempt, error)
        else:
            self._in_vain = 0
            self._watcher.done(attempt, outcome.report)

    def _broken(self, attempt: Attempt, outcome: Broken) -> None:
        error = outcome.raised()
        self._failed(attempt, error)
        if not isinstance(error, (*BAD_INPUT, OSError)):
            self._pool.renew(attempt.worker)  # its device may be lost to it, and it would fail all others at once

    def _failed(self, attempt: Attempt, error: Exception) -> None:
        again = self._queue.fail(attempt, error)
        self._watcher.failed(attempt, error, again=again)

    def _gone(self, event: Gone) -> None:
        if event.mark in self.out:
            attempt = self.out.pop(event.mark)
            again = self._queue.lose(attempt, event.reason)
            self._watcher.lost(attempt, event.reason, again=again)
        else:
            self._watcher.gone(event.worker, event.reason)
        self._in_vain += 1
        if self._in_vain > (limit := 5 + 2 * self._pool.size):
            raise ClusterError(
                f"{limit} workers died and no job was done meanwhile ({event.reason}); "
                "look at their memory, try fewer --workers, then run the same command again"
            )
