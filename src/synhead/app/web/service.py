"""The jobs: one thread does them one after another; they can be watched, cancelled and removed from any other."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from synhead.app.web.limits import Limits
from synhead.app.web.problems import FAULT, RefusedError, plain
from synhead.app.web.work import Run, Task
from synhead.app.web.workspace import Workspace
from synhead.inference.report import AnimationReport

log = logging.getLogger(__name__)

State = Literal["queued", "running", "done", "failed", "cancelled"]
RETRY_AFTER_S = 15
JANITOR_S = 30.0


class _CancelledError(Exception):
    """The work was stopped on request."""


@dataclass(slots=True)
class _Job:
    """``total`` is None while unknown, ``ended`` while not ended; ``removed``: to be forgotten as soon as it ends."""

    id: str
    folder: Path
    task: Task
    state: State = "queued"
    done: int = 0
    total: int | None = None
    error: str | None = None
    report: AnimationReport | None = None
    ended: float | None = None
    removed: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises if the job is to stop."""
        if self.stop.is_set():
            raise _CancelledError


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A job at one moment. ``place``: 1 is the next to run, None if it does not wait. ``kept_s``: seconds left."""

    id: str
    state: State
    place: int | None
    done: int
    total: int | None
    error: str | None
    report: AnimationReport | None
    output: Path
    beside: bool
    kept_s: float | None


class Service:
    """A queue with one worker thread. Close it, or use it as a context manager."""

    def __init__(self, run: Run, workspace: Workspace, limits: Limits) -> None:
        self.workspace, self.limits = workspace, limits
        self._run = run
        self._jobs: dict[str, _Job] = {}
        self._waiting: deque[_Job] = deque()
        self._reserved = 0
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=target, name=f"synhead-web-{target.__name__}", daemon=True)
            for target in (self._work, self._tidy)
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def reserve(self) -> Iterator[Path]:
        """A place in the queue and a folder of one's own, for :meth:`submit` within the block.

        The folder is removed if the block raises. Raises RefusedError where the queue is full.
        """
        with self._changed:
            if self._closing.is_set():
                raise RefusedError(503, "the server is about to stop; come back later", retry_after=RETRY_AFTER_S)
            if len(self._waiting) + self._reserved >= self.limits.waiting:
                raise RefusedError(
                    503, "the queue is full; try again when a job has ended, or cancel one", retry_after=RETRY_AFTER_S
                )
            self._reserved += 1
        try:
            folder = self.workspace.folder()
            try:
                yield folder
            except BaseException:
                self.workspace.remove(folder)
                raise
        finally:
            with self._changed:
                self._reserved -= 1

    def submit(self, folder: Path, task: Task) -> Snapshot:
        """Queue a task whose files are in ``folder``; that folder's name is the job's id."""
        with self._changed:
            job = _Job(folder.name, folder, task)
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._changed.notify_all()
            return self._snapshot(job)

    def look(self, name: str) -> Snapshot:
        """Raises RefusedError for an unknown id."""
        with self._changed:
            return self._snapshot(self._find(name))

    def cancel(self, name: str) -> Snapshot:
        """A waiting job ends at once, a running one within a frame or so; ended ones stay as they are."""
        with self._changed:
            job = self._find(name)
            self._stop(job)
            return self._snapshot(job)

    def remove(self, name: str) -> None:
        """Forget a job and all its files; a running one is cancelled first."""
        with self._changed:
            job = self._find(name)
            self._stop(job)
            job.removed = True
            if job.ended is not None:
                self._forget(job)

    def output(self, name: str, which: Literal["result", "beside"]) -> Path:
        """A finished file. Raises RefusedError if there is none (yet)."""
        with self._changed:
            job = self._find(name)
            path = job.task.job.output if which == "result" else job.task.beside
            if job.state != "done":
                raise RefusedError(409, f"the job is {job.state}: only jobs that are done have results")
            if path is None:
                raise RefusedError(404, "no side by side video was asked for; send side_by_side true with the options")
            return path

    def counts(self) -> tuple[int, int]:
        """(waiting, running) jobs."""
        with self._changed:
            return len(self._waiting), sum(job.state == "running" for job in self._jobs.values())

    def sweep(self) -> None:
        """Forget what has been kept long enough, and the oldest of what is too much."""
        with self._changed:
            now = time.monotonic()
            for with_result in (True, False):  # whoever sends what fails pushes no results out
                ended = sorted(
                    (job.ended, job.id)
                    for job in self._jobs.values()
                    if job.ended is not None and (job.state == "done") is with_result
                )
                surplus = len(ended) - self.limits.kept
                for index, (moment, name) in enumerate(ended):
                    if index < surplus or now - moment > self.limits.keep_seconds:
                        self._forget(self._jobs[name])

    def close(self) -> None:
        """Cancel everything, wait until the worker has stopped, remove all files. May be called again."""
        with self._changed:
            self._closing.set()
            for job in list(self._jobs.values()):
                self._stop(job)
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        with self._changed:
            for job in list(self._jobs.values()):
                self._forget(job)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find(self, name: str) -> _Job:
        job = self._jobs.get(name)
        if job is None or job.removed:
            raise RefusedError(404, "no job has this id; results are kept for a while only, start the job again")
        return job

    def _snapshot(self, job: _Job) -> Snapshot:
        kept = None if job.ended is None else max(0.0, job.ended + self.limits.keep_seconds - time.monotonic())
        return Snapshot(
            id=job.id,
            state=job.state,
            place=self._waiting.index(job) + 1 if job.state == "queued" else None,
            done=job.done,
            total=job.total,
            error=job.error,
            report=job.report,
            output=job.task.job.output,
            beside=job.task.beside is not None and job.state == "done",
            kept_s=kept,
        )

    def _stop(self, job: _Job) -> None:
        job.stop.set()
        if job.state == "queued":
            self._waiting.remove(job)
            self._end(job, "cancelled")

    def _end(self, job: _Job, state: State, error: str | None = None) -> None:
        """Only results are kept: what was sent goes at once."""
        job.state, job.error, job.ended = state, error, time.monotonic()
        if job.removed:
            self._forget(job)
        elif state == "done":
            self.workspace.keep_only(job.folder, job.task.outputs)
        else:
            self.workspace.remove(job.folder)

    def _forget(self, job: _Job) -> None:
        self.workspace.remove(job.folder)
        self._jobs.pop(job.id, None)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            state: State = "done"
            error: str | None = None
            try:
                job.report = self._run(job.task, partial(self._frames, job), job.check)
                job.check()
            except _CancelledError:
                state = "cancelled"
            except Exception as failure:
                state, error = "failed", plain(failure, job.folder, job.task.job.driving.parent)
                if error == FAULT:
                    log.exception("job %s failed", job.id)
            with self._changed:
                self._end(job, state, error)
            self.sweep()

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._waiting and not self._closing.is_set():
                self._changed.wait()
            if self._closing.is_set():
                return None
            job = self._waiting.popleft()
            job.state = "running"
            return job

    def _frames(self, job: _Job, done: int, total: int | None) -> None:
        job.check()
        if done > self.limits.frames:
            raise RefusedError(413, f"more than {self.limits.frames} frames came out of the driver; send a shorter one")
        job.done, job.total = done, total

    def _tidy(self) -> None:
        while not self._closing.wait(min(JANITOR_S, self.limits.keep_seconds / 4)):
            self.sweep()
