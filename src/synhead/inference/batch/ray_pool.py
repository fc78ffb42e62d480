"""Workers as actors of a Ray cluster: one of this machine alone, or one that is running already."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from synhead.config.version import version
from synhead.inference.batch.errors import ClusterError
from synhead.inference.batch.jobs_file import located
from synhead.inference.batch.pool import Ended, Event, Frames, Gone, Ready
from synhead.inference.batch.queue import Attempt, JobQueue
from synhead.inference.batch.ray_cluster import RayOptions, connected, fitted, one_line
from synhead.inference.batch.shared_view import View, probed
from synhead.inference.batch.worker import Identity, MakeRunner, Worker

MOMENT_S = 0.3
STOP_S = 8.0
FIRST_WORKER_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``make``: of what runs the jobs, in a worker. ``queue``: with what is to be done. ``mark``: a path that is this
    run's alone.
    """

    make: MakeRunner
    queue: JobQueue
    mark: Path


@contextmanager
def open_ray_pool(wanted: Wanted, options: RayOptions) -> Iterator[RayPool]:
    """Workers on Ray; at least one has loaded. All are gone when it ends.

    Raises ModuleNotFoundError without Ray, ClusterError if there is no cluster there, no room in it for a worker, or if
    workers do not see the same files, weights and version of Synhead as this process.
    """
    jobs = [job.job for job in wanted.queue.waiting]
    shared = jobs if options.address else []  # a machine alone sees what it sees
    with connected(options) as ray, probed(shared, wanted.mark) as view:
        pool = RayPool(ray, wanted, fitted(ray, options, len(jobs)), view)
        try:
            pool.wait_for_first()
            yield pool
        finally:
            pool.close()


@dataclass(slots=True)
class _Member:
    """An actor and the answers that it owes: while it loads, while it runs, and how far it is."""

    name: str
    actor: Any
    loading: Any = None
    running: Any = None
    mark: str | None = None
    frames: Any = None


class RayPool:
    """See Pool and :func:`open_ray_pool`."""

    def __init__(self, ray: ModuleType, wanted: Wanted, options: RayOptions, view: View) -> None:
        self._ray, self._wanted, self._options, self._view = ray, wanted, options, view
        self._numbers = itertools.count(1)
        self._ever_ready = False
        self._class = ray.remote(concurrency_groups={"talk": 1})(Worker)
        self._members = [self._new() for _ in range(options.workers or 1)]
        self._early: list[Event] = []

    @property
    def size(self) -> int:
        """See Pool."""
        return len(self._members)

    def wait_for_first(self) -> None:
        """Until a worker has loaded. Raises what it raised, or ClusterError."""
        until = time.monotonic() + FIRST_WORKER_S
        while not self._ever_ready:
            self._early += (events := self.events())
            gone = [event.reason for event in events if isinstance(event, Gone)]
            if gone:
                raise ClusterError(f"a worker died while it loaded the model: {gone[0]}; look at its memory")
            if time.monotonic() > until:
                raise ClusterError(
                    f"no worker was ready after {FIRST_WORKER_S:g} s; see with ray status whether others use the "
                    "cluster, or ask for less with --workers, --cpus-per-worker, --gpus-per-worker"
                )

    def idle(self) -> Sequence[str]:
        """See Pool."""
        return [member.name for member in self._members if member.loading is None and member.running is None]

    def give(self, worker: str, attempt: Attempt) -> None:
        """See Pool."""
        member = self._find(worker)
        member.mark = attempt.mark
        member.running = member.actor.run.remote(located(attempt.staged, Path.cwd()), attempt.job.animator)

    def events(self) -> Sequence[Event]:
        """See Pool."""
        if self._early:
            early, self._early = self._early, []
            return early
        owed = [ref for member in self._members if (ref := _owed(member)) is not None]
        if owed:
            self._ray.wait(owed, num_returns=1, timeout=MOMENT_S)
        found: list[Event] = []
        for index, member in enumerate(self._members):
            if self._there(_owed(member)):
                event = self._loaded(member) if member.running is None else self._ended(member)
                found.append(event)
                if isinstance(event, Gone):
                    self._replace(index)
            elif member.running is not None:
                found += self._counted(member)
        return found

    def renew(self, worker: str) -> None:
        """See Pool."""
        self._replace(self._members.index(self._find(worker)))

    def stop(self) -> None:
        """See Pool."""
        running = [member for member in self._members if member.running is not None]
        refs = [member.running for member in running]
        for member in running:
            member.actor.stop.options(concurrency_group="talk").remote()
        if refs:
            self._ray.wait(refs, num_returns=len(refs), timeout=STOP_S)
        self.close()
        if refs:
            self._ray.wait(refs, num_returns=len(refs), timeout=STOP_S)  # their ends are told when they are dead

    def close(self) -> None:
        """Let all workers go."""
        for member in self._members:
            self._ray.kill(member.actor, no_restart=True)

    def _new(self) -> _Member:
        options = self._options
        actor = self._class.options(num_cpus=options.cpus, num_gpus=options.gpus, max_restarts=0).remote(
            self._wanted.make, _environment()
        )
        return _Member(f"worker {next(self._numbers)}", actor, loading=actor.load.remote(self._view))

    def _replace(self, index: int) -> None:
        self._ray.kill(self._members[index].actor, no_restart=True)
        self._members[index] = self._new()

    def _find(self, worker: str) -> _Member:
        return next(member for member in self._members if member.name == worker)

    def _there(self, ref: object) -> bool:
        return ref is not None and bool(self._ray.wait([ref], timeout=0)[0])

    def _loaded(self, member: _Member) -> Event:
        """It is ready, and is who it should be; one that cannot be made is an error only before others were."""
        errors = self._ray.exceptions
        try:
            identity: Identity = self._ray.get(member.loading)
        except errors.RayTaskError as error:
            if not self._ever_ready:
                raise (error.cause or error) from None
            return Gone(member.name, None, one_line(error.cause or error))
        except errors.RayError as error:
            return Gone(member.name, None, one_line(error))
        check_identity(identity, self._wanted.queue.made_by)
        member.name += f" ({identity})"
        member.loading, self._ever_ready = None, True
        return Ready(member.name)

    def _ended(self, member: _Member) -> Event:
        mark, ref = member.mark, member.running
        assert mark is not None
        try:
            outcome = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            return Gone(member.name, mark, one_line(error))
        if outcome is None:
            return Gone(member.name, mark, "it was stopped")
        member.running = member.mark = member.frames = None
        return Ended(mark, outcome)

    def _counted(self, member: _Member) -> list[Event]:
        """How far it is, if it has said so since it was asked; it is asked again."""
        told: list[Event] = []
        if member.frames is not None:
            if not self._there(member.frames):
                return []
            try:
                done, total = self._ray.get(member.frames)
            except self._ray.exceptions.RayError:
                return []  # its attempt will end with the same error
            told = [Frames(member.mark or "", done, total)]
        member.frames = member.actor.frames.options(concurrency_group="talk").remote()
        return told


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("SYNHEAD_")}


def _owed(member: _Member) -> object:
    return member.loading if member.running is None else member.running


def check_identity(identity: Identity, made_by: str) -> None:
    """Raises ClusterError unless the worker runs the same program and weights, and sees the same files."""
    if identity.version != version():
        raise ClusterError(
            f"{identity.host} has Synhead {identity.version}, this machine {version()}; install the same everywhere"
        )
    if identity.made_by != made_by:
        raise ClusterError(
            f"the weights on {identity.host} ({identity.made_by}) are not those of this machine ({made_by}); "
            "name the same checkpoint on all nodes, best one on the shared file system"
        )
    if identity.blind:
        folders = ", ".join(map(str, identity.blind[:3]))
        raise ClusterError(
            f"{identity.host} does not see what this machine sees in {folders}: inputs and outputs must lie on a file "
            "system that all nodes share at the same path (NFS, Lustre, a mounted bucket); without one, run a batch on "
            "each machine"
        )
