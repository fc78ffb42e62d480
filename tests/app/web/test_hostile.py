"""What nobody should send, over a real connection to a server of its own process: see hostile.py."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.app.web.hostile import BOUNDARY, Case, cases, form
from tests.app.web.small_server import LIMITS

ENDED = ("done", "failed", "cancelled")
MOST_MEMORY_MB = 900
"""Beyond what the server takes before the first upload."""


@dataclass
class Running:
    """The server's process, port and folder of jobs."""

    process: subprocess.Popen[str]
    port: int
    folder: Path

    def ask(self, method: str, path: str, body=None, headers: dict[str, str] | None = None, **options):
        """(status, JSON)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {}, **options)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content else None

    def peak_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000

    def send(self, case: Case):
        """(status, what was told) of the request, or of the job it became."""
        body = form(case.files) if case.body is None else case.body
        status, told = self.ask("POST", "/api/v1/jobs", body, {"Content-Type": case.kind, **case.headers})
        if status != 202:
            return status, told
        until = time.monotonic() + 60
        while (job := self.ask("GET", f"/api/v1/jobs/{told['id']}")[1])["state"] not in ENDED:
            assert time.monotonic() < until
            time.sleep(0.01)
        self.ask("DELETE", f"/api/v1/jobs/{told['id']}")
        return status, job


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "jobs").mkdir()
    command = [sys.executable, "-m", "tests.app.web.small_server", str(folder / "jobs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
    yield Running(process, port, folder)
    process.terminate()
    assert process.wait(20) == 128 + 15
    assert [path.name for path in folder.iterdir()] == ["jobs"]
    assert list((folder / "jobs").iterdir()) == []


def assert_fate(case: Case, status: int, told) -> None:
    if case.fate == "refused":
        assert 400 <= status < 500, (status, told)
        assert isinstance(told["detail"], str)
        assert 10 < len(told["detail"]) < 600
        assert "/tmp" not in told["detail"]
        assert "fault of the program" not in told["detail"]
        return
    assert (status, told.get("state")) == (202, case.fate), told


@pytest.mark.slow
def test_hostile_uploads(running: Running, media: Path, tmp_path: Path, capsys) -> None:
    tried = list(cases(media, tmp_path))
    assert len(tried) >= 100
    assert len({case.name for case in tried}) == len(tried)
    running.send(next(case for case in tried if case.fate == "done"))
    before, trouble, told_of = running.peak_mb(), [], {}
    for case in tried:
        status, told = running.send(case)
        told_of[case.name] = told.get("detail")
        try:
            assert_fate(case, status, told)
        except AssertionError as error:
            trouble.append(f"{case.name}: {error}")
        (server,) = (running.folder / "jobs").iterdir()
        trouble += [f"{case.name}: left {path.name}" for path in server.iterdir()]
    capsys.readouterr()
    with capsys.disabled():
        sys.stdout.write(f"\n{len(tried)} uploads, memory from {before:.0f} to {running.peak_mb():.0f} MB\n")
    assert "too many pixels" in told_of["PNG of 100000 x 100000"]
    assert not trouble, "\n".join(trouble)
    assert running.process.poll() is None
    assert running.peak_mb() - before < MOST_MEMORY_MB
    assert not list(Path("/tmp").glob("synhead-evil*"))


def endless(begin: bytes) -> Iterator[bytes]:
    yield begin
    while True:
        yield bytes(65_536)


def test_an_endless_stream_is_stopped_at_the_limit(running: Running) -> None:
    part = b'--%s\r\nContent-Disposition: form-data; name="driving"; filename="x"\r\n\r\n' % BOUNDARY.encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Transfer-Encoding": "chunked"}
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for piece in endless(part):
            sent += len(piece)
            if sent > 40_000_000:
                return  # what is read on after the refusal is dropped
            yield piece

    status, told = running.ask("POST", "/api/v1/jobs", counted(), headers, encode_chunked=True)
    assert (status, "driving: 4 MB at most" in told["detail"]) == (413, True)
    announced = {**headers, "Content-Length": "99999999999"}
    del announced["Transfer-Encoding"]
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    lines = "".join(f"{name}: {value}\r\n" for name, value in announced.items())
    connection.sendall(f"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())
    assert b"413" in connection.recv(100)  # before a byte of it came
    connection.close()


def test_a_slow_upload_is_ended(running: Running) -> None:
    start = time.monotonic()
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    head = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    )
    connection.sendall(f"{head}Content-Length: 1000\r\n\r\n--{BOUNDARY}\r\n".encode())
    assert b"408" in connection.recv(100)
    assert LIMITS.idle_seconds <= time.monotonic() - start < LIMITS.idle_seconds + 8
    connection.close()


def test_a_client_that_goes_away_leaves_nothing(running: Running) -> None:
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    head = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    )
    body = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="portrait"; filename="x"\r\n\r\nxxxx'
    connection.sendall(f"{head}Content-Length: 100000\r\n\r\n{body}".encode())
    (server,) = (running.folder / "jobs").iterdir()
    until = time.monotonic() + 10
    while not list(server.iterdir()):
        assert time.monotonic() < until
        time.sleep(0.01)
    connection.close()
    while list(server.iterdir()):
        assert time.monotonic() < until
        time.sleep(0.01)
