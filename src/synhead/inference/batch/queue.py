"""Which job is next, what became of it, and when it is tried again: for one runner here, or for many elsewhere.

Exactly once means: an output gets its name once, from one attempt that came to its end. An attempt writes to a name of
its own, the journal takes down what it wrote (``made``), then it is renamed, then it is ``done``. Killed before
``made``: the attempt never was, and another is made. Killed after: the waiting output is renamed by the next run, or
recognised at its place by size and SHA-256 if it had been renamed.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from synhead.config import ConfigError
from synhead.data.errors import MediaError
from synhead.faces.analyzer import FaceError
from synhead.inference.batch.jobs_file import BatchJob
from synhead.inference.batch.journal import Event, Journal, Record
from synhead.inference.batch.staging import Seal, discard, publish, seal, staged_path
from synhead.inference.job import AnimationJob
from synhead.inference.pipeline import check_paths
from synhead.inference.report import AnimationReport
from synhead.inference.template import TemplateError
from synhead.provenance.errors import ProvenanceError

BAD_INPUT = (ConfigError, MediaError, FaceError, TemplateError, ProvenanceError)
"""Errors that would come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``retries``: further attempts after an error that may pass. ``losses``: further ones after their workers were
    lost, which is not held against a job so many times. ``keep_going``: a failed job does not stop others.
    """

    retries: int = 1
    losses: int = 2
    keep_going: bool = True

    def __post_init__(self) -> None:
        if self.retries < 0 or self.losses < 0:
            raise ConfigError(f"retries {self.retries} and losses {self.losses} must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One go at a job. ``mark``: unlike that of any other; ``number``: from 1 in each run; ``worker``: see Record."""

    job: BatchJob
    mark: str
    number: int
    worker: str = ""

    @property
    def staged(self) -> AnimationJob:
        """What to run: the job, written to this attempt's own name."""
        return replace(self.job.job, output=staged_path(self.job.job.output, self.mark))


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that is not tried again in this run, and why."""

    job: BatchJob
    reason: str


class JobQueue:
    """Hands out attempts and takes back what became of them; several may be out at once.

    ``made_by``: which model will run; what another one made is not done. ``earlier``: jobs that were done before,
    ``changed``: those whose line or model is not that of the output that earlier runs made.
    """

    def __init__(self, jobs: Sequence[BatchJob], journal: Journal, policy: Policy, *, made_by: str) -> None:
        self._journal, self._policy, self.made_by = journal, policy, made_by
        self.earlier: list[BatchJob] = []
        self.changed: list[BatchJob] = []
        self.done: list[BatchJob] = []
        self.failed: list[Failure] = []
        self._waiting: deque[BatchJob] = deque()
        self._attempts, self._failures, self._losses = Counter[str](), Counter[str](), Counter[str]()
        self._strays: list[tuple[BatchJob, str]] = []
        for job in jobs:
            if self._settled(job):
                self.earlier.append(job)
            else:
                self._waiting.append(job)

    @property
    def waiting(self) -> tuple[BatchJob, ...]:
        """Jobs that no attempt is out for, and that are neither done nor failed."""
        return tuple(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether there is an attempt to be made now; not after a failure if others are not to go on."""
        return bool(self._waiting) and (self._policy.keep_going or not self.failed)

    def record(self, job: BatchJob) -> Record | None:
        """The last that the journal says of a job."""
        return self._journal.last(job.key)

    def take(self, worker: str = "") -> Attempt | None:
        """The next attempt, None if the queue is not ready. ``worker``: who will make it, if not this process."""
        if not self.ready:
            return None
        job = self._waiting.popleft()
        self._attempts[job.key] += 1
        attempt = Attempt(job=job, mark=uuid.uuid4().hex[:12], number=self._attempts[job.key], worker=worker)
        self._journal.add(self._record("started", attempt))
        return attempt

    def finish(self, attempt: Attempt, report: AnimationReport, written: Seal | None = None) -> None:
        """The runner came to its end: take down what it wrote, then give it its name. Raises MediaError, OSError.

        ``written``: what a runner on another machine saw of it there.
        """
        staged = attempt.staged.output
        whole = seal(staged)
        if whole is None:
            raise OSError(f"the runner wrote nothing to {staged}")
        if written not in (None, whole):
            raise OSError(f"{staged} is not here what it was where it was written; its file system is not shared well")
        made = replace(self._record("made", attempt), size=whole.size, sha256=whole.sha256, report=report.to_json())
        self._journal.add(made)
        self._publish(attempt.job, made)
        self.done.append(attempt.job)

    def fail(self, attempt: Attempt, error: Exception) -> bool:
        """Take down an error; whether another attempt will be made."""
        discard(attempt.job.job.output, attempt.mark)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        self._journal.add(replace(self._record("failed", attempt), reason=reason))
        self._failures[attempt.job.key] += 1
        again = not isinstance(error, BAD_INPUT) and self._failures[attempt.job.key] <= self._policy.retries
        return self._try_again(attempt, reason, again=again)

    def lose(self, attempt: Attempt, reason: str) -> bool:
        """Its worker is gone; whether another attempt will be made."""
        discard(attempt.job.job.output, attempt.mark)
        self._strays.append((attempt.job, attempt.mark))
        self._journal.add(replace(self._record("lost", attempt), reason=reason))
        self._losses[attempt.job.key] += 1
        again = self._losses[attempt.job.key] <= self._policy.losses
        return self._try_again(
            attempt, f"its worker was lost {self._losses[attempt.job.key]} times: {reason}", again=again
        )

    def sweep(self) -> None:
        """Remove what strays have left: a worker that was cut off, or whose queue was killed, may have written on."""
        for job, mark in self._strays:
            discard(job.job.output, mark)

    def abandon(self, attempt: Attempt) -> None:
        """The run stops: what was made waits for the next one, what was not is removed."""
        last = self._journal.last(attempt.job.key)
        if last is not None and last.event == "started":
            discard(attempt.job.job.output, attempt.mark)

    def _try_again(self, attempt: Attempt, reason: str, *, again: bool) -> bool:
        if again:
            self._waiting.append(attempt.job)
        else:
            self.failed.append(Failure(attempt.job, reason))
        return again

    def _settled(self, job: BatchJob) -> bool:
        """Whether earlier runs made this output; what they left half done is finished or removed."""
        for mark in self._journal.unended(job.key):
            self._strays.append((job, mark))
            discard(job.job.output, mark)
        last = self._journal.last(job.key)
        if last is None:
            return False
        same = (last.digest, last.made_by) == (job.digest, self.made_by)
        if last.event == "made" and same and self._resume(job, last):
            return True
        if last.event == "done" and same:
            return job.job.output.exists()
        if last.event == "done":
            self.changed.append(job)
        discard(job.job.output, last.attempt)
        return False

    def _resume(self, job: BatchJob, made: Record) -> bool:
        """Go on after ``made``: the output waits, or has been renamed already; False if neither is whole."""
        wanted = (made.size, made.sha256)
        if _fits(seal(staged_path(job.job.output, made.attempt)), wanted):
            try:
                self._publish(job, made)
            except (MediaError, OSError):
                return False  # a new attempt will meet the same obstacle, and say so
            return True
        if _fits(seal(job.job.output), wanted):
            self._journal.add(replace(made, event="done", time=time.time()))
            return True
        return False

    def _publish(self, job: BatchJob, made: Record) -> None:
        check_paths((), job.job.output)  # a folder may have been filled by others meanwhile
        publish(staged_path(job.job.output, made.attempt), job.job.output)
        self._journal.add(replace(made, event="done", time=time.time()))

    def _record(self, event: Event, attempt: Attempt) -> Record:
        return Record(
            event=event,
            key=attempt.job.key,
            digest=attempt.job.digest,
            made_by=self.made_by,
            attempt=attempt.mark,
            number=attempt.number,
            worker=attempt.worker,
        )


def _fits(found: Seal | None, wanted: tuple[int | None, str | None]) -> bool:
    return found is not None and (found.size, found.sha256) == wanted
