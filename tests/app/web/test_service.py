from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from synhead.app.web.limits import Limits
from synhead.app.web.problems import RefusedError
from synhead.app.web.service import Service, Snapshot
from synhead.app.web.work import Run, Task
from synhead.app.web.workspace import Workspace
from synhead.config import ConfigError
from synhead.inference.animator import AnimatorOptions
from synhead.inference.job import AnimationJob

STEP_S = 0.005


class Worker:
    """Writes a frame a step until told otherwise; notes what it ran and what it found afterwards."""

    def __init__(self) -> None:
        self.frames = 3
        self.begun: list[str] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, task: Task, progress, check):
        folder = task.job.output.parent
        self.begun.append(folder.name)
        partial = folder / "half-written"
        partial.write_bytes(b"")
        for done in range(1, self.frames + 1):
            while not self.free.is_set():
                check()
                time.sleep(STEP_S)
            progress(done, self.frames)
        partial.replace(task.job.output)


@pytest.mark.parametrize("name", ["keep_seconds", "seconds"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_limits_are_numbers_that_can_be_told(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        Limits(**{name: value})


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def open_service(worker: Run, workspace: Workspace) -> Iterator[Callable[..., Service]]:
    opened: list[Service] = []

    def make(**limits) -> Service:
        opened.append(Service(worker, workspace, Limits(**limits)))
        return opened[-1]

    yield make
    for service in opened:
        service.close()


def submit(service: Service) -> Snapshot:
    with service.reserve() as folder:
        for name in ("portrait", "driving"):
            (folder / name).write_bytes(b"sent")
        job = AnimationJob(source=folder / "portrait", driving=folder / "driving", output=folder / "result.mp4")
        return service.submit(folder, Task(job=job, motion=AnimatorOptions()))


def wait(service: Service, name: str, *states: str) -> Snapshot:
    until = time.monotonic() + 20
    while (now := service.look(name)).state not in states:
        assert time.monotonic() < until, now
        time.sleep(STEP_S)
    return now


def folders(service: Service) -> set[str]:
    return {path.name for path in service.workspace.root.iterdir()}


def test_jobs_run_in_turn_once_each(open_service: Callable[..., Service], worker: Worker) -> None:
    service = open_service()
    worker.free.clear()
    names = [submit(service).id for _ in range(5)]
    wait(service, names[0], "running")
    assert [service.look(name).place for name in names] == [None, 1, 2, 3, 4]
    worker.free.set()
    for name in names:
        assert wait(service, name, "done").done == 3
        assert {path.name for path in (service.workspace.root / name).iterdir()} == {"result.mp4"}
    assert worker.begun == names
    assert len(set(names)) == 5


def test_a_full_queue_refuses_and_says_when_to_come_again(open_service: Callable[..., Service], worker: Worker) -> None:
    service = open_service(waiting=2)
    worker.free.clear()
    first = submit(service)
    wait(service, first.id, "running")
    submit(service)
    with service.reserve(), pytest.raises(RefusedError) as full:  # an upload under way takes its place too
        submit(service)
    assert full.value.status == 503
    assert full.value.retry_after
    last = submit(service)
    with pytest.raises(RefusedError):
        submit(service)
    service.cancel(last.id)
    submit(service)


def test_a_failed_upload_leaves_neither_folder_nor_place(open_service: Callable[..., Service]) -> None:
    service = open_service(waiting=1)
    for _ in range(3):
        with pytest.raises(FileNotFoundError), service.reserve() as folder:
            (folder / "portrait").rename(folder / "nowhere" / "portrait")
    assert folders(service) == set()


def test_cancelling(open_service: Callable[..., Service], worker: Worker) -> None:
    service = open_service()
    worker.free.clear()
    running, waiting = submit(service), submit(service)
    wait(service, running.id, "running")
    assert service.cancel(waiting.id).state == "cancelled"
    service.cancel(running.id)
    start = time.monotonic()
    wait(service, running.id, "cancelled")
    assert time.monotonic() - start < 1
    assert folders(service) == set()
    assert worker.begun == [running.id]
    worker.free.set()
    third = submit(service)
    assert wait(service, third.id, "done").state == service.cancel(third.id).state == "done"


def test_removing_a_running_job_stops_it(open_service: Callable[..., Service], worker: Worker) -> None:
    service = open_service()
    worker.free.clear()
    running = submit(service)
    wait(service, running.id, "running")
    service.remove(running.id)
    for call in (service.look, service.cancel, service.remove):
        with pytest.raises(RefusedError) as gone:
            call(running.id)
        assert gone.value.status == 404
    until = time.monotonic() + 10
    while folders(service):
        assert time.monotonic() < until
        time.sleep(STEP_S)
    assert service.counts() == (0, 0)


def test_ended_jobs_are_kept_for_a_while_and_not_too_many(open_service: Callable[..., Service]) -> None:
    service = open_service(kept=2, keep_seconds=1.0)
    names = [submit(service).id for _ in range(4)]
    wait(service, names[-1], "done")
    service.sweep()
    assert folders(service) == set(names[2:])
    until = time.monotonic() + 10
    while folders(service):  # removed without anybody asking
        assert time.monotonic() < until
        time.sleep(0.05)
    with pytest.raises(RefusedError):
        service.look(names[-1])


def test_cancelled_jobs_push_no_results_out(open_service: Callable[..., Service], worker: Worker) -> None:
    service = open_service(kept=2)
    done = submit(service).id
    wait(service, done, "done")
    worker.free.clear()
    wait(service, submit(service).id, "running")
    cancelled = [submit(service).id for _ in range(4)]
    for name in cancelled:
        service.cancel(name)
    service.sweep()
    assert service.look(done).state == "done"
    assert (service.workspace.root / done / "result.mp4").exists()
    assert [service.look(name).state for name in cancelled[2:]] == ["cancelled"] * 2
    with pytest.raises(RefusedError):  # the oldest of them are forgotten too
        service.look(cancelled[0])


def test_closing_cancels_and_removes_everything(open_service: Callable[..., Service], worker: Worker) -> None:
    service = open_service()
    done = submit(service)
    wait(service, done.id, "done")
    worker.free.clear()
    running, waiting = submit(service), submit(service)
    wait(service, running.id, "running")
    service.close()
    assert folders(service) == set()
    assert waiting.id not in worker.begun
    with pytest.raises(RefusedError) as stopped:
        submit(service)
    assert stopped.value.status == 503


def test_too_many_frames_at_run_time(open_service: Callable[..., Service], worker: Worker) -> None:
    service = open_service(frames=2)
    failed = wait(service, submit(service).id, "failed")
    assert "more than 2 frames" in (failed.error or "")
    assert folders(service) == set()
