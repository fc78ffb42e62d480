"""A whole server with the tiny model, in this process or on a port; and what is sent to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient

from synhead.app.listening import listen
from synhead.app.models import untrained
from synhead.app.web.api import Identity
from synhead.app.web.application import web_application
from synhead.app.web.desk import Desk
from synhead.app.web.limits import Limits
from synhead.app.web.security import Sessions
from synhead.app.web.service import Service
from synhead.app.web.work import Run, runner
from synhead.app.web.workspace import Workspace, open_workspace
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.provenance.statement import Statement

ADDRESS = "http://127.0.0.1:8766"
MIDDLE = {"crop": "center", "driving_crop": "center"}
ENDED = ("done", "failed", "cancelled")


@pytest.fixture(scope="session")
def animator() -> Animator:
    return Animator(untrained("tiny"), AnimatorOptions(batch_size=2))


@pytest.fixture(scope="session")
def run_tiny(animator: Animator) -> Run:
    return runner(animator, Statement(model="preset tiny"))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "jobs").mkdir()
    with open_workspace(tmp_path / "jobs") as opened:
        yield opened


@dataclass
class Server:
    """An application, what stands behind it, and a client of it."""

    web: object
    service: Service
    client: object

    def send(self, media: Path, options: dict[str, object] | None = None, **fields: object):
        """POST a job of the two files of ``media``."""
        files = {
            "portrait": ("portrait.jpg", (media / "portrait.jpg").read_bytes()),
            "driving": ("driving.mp4", (media / "driving.mp4").read_bytes()),
            "options": (None, json.dumps({**MIDDLE, **(options or {})})),
            **fields,
        }
        return self.client.post("/api/v1/jobs", files={k: v for k, v in files.items() if v is not None})

    def wait(self, name: str, states: tuple[str, ...] = ENDED, seconds: float = 60):
        """Until the job is in one of these states."""
        until = time.monotonic() + seconds
        while (status := self.client.get(f"/api/v1/jobs/{name}").json())["state"] not in states:
            assert time.monotonic() < until, status
            time.sleep(0.02)
        return status


@pytest.fixture
def serve(workspace: Workspace, run_tiny: Run) -> Iterator[Callable[..., Server]]:
    """Make a server: of limits, a password, another way to run jobs, templates."""
    opened: list[Service] = []

    def make(
        limits: Limits | None = None, *, run: Run | None = None, password: str | None = None, templates=None, **options
    ) -> Server:
        service = Service(run or run_tiny, workspace, limits or Limits())
        opened.append(service)
        desk = Desk(service, templates or {}, batch_size=2)
        identity = Identity(model="preset tiny", trained=False, live=False, locked=password is not None)
        sessions = None if password is None else Sessions(password)
        web = web_application(desk, identity, sessions=sessions, **options)
        client = TestClient(web, base_url=ADDRESS, raise_server_exceptions=False)
        return Server(web, service, client)

    yield make
    for service in opened:
        service.close()


@contextmanager
def on_a_port(web: object) -> Iterator[str]:
    """Served by uvicorn on a thread; yields the address without a path."""
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(web, log_level="warning", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
