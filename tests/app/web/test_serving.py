"""The command itself, in a process of its own: where it listens, what it says, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synhead.app.hosts import LOCAL_HOSTS
from synhead.app.web.serving import Doors, _names
from synhead.config import ConfigError
from tests.app.web.hostile import BOUNDARY, form
from tests.data.video_factory import write_clip

# what runs under nohup inherits that a closed terminal is ignored
PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    "from synhead.app.cli import main; main(sys.argv[1:])"
)
MIDDLE = json.dumps({"crop": "center", "driving_crop": "center"}).encode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    started: list[subprocess.Popen[str]] = []

    def run(*options: str, **environment: str) -> tuple[subprocess.Popen[str], int]:
        (tmp_path / "jobs").mkdir(exist_ok=True)
        command = [sys.executable, "-c", PROGRAM, "web", "--preset", "tiny", "--device", "cpu", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--folder", str(tmp_path / "jobs"), *options],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, int(re.search(r":(\d+)/", process.stdout.readline())[1])

    yield run
    for process in started:
        process.kill()
        process.wait()


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"null")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + 15), (signal.SIGHUP, 129)])
def test_a_signal_cancels_the_running_job_and_leaves_nothing(
    start, tmp_path: Path, media: Path, number: signal.Signals, code: int
) -> None:
    process, port = start()
    long = write_clip(tmp_path / "long.mp4", frames=2500).read_bytes()
    files = {
        "portrait": (b"p", (media / "portrait.jpg").read_bytes()),
        "driving": (b"d", long),
        "options": (b"o", MIDDLE),
    }
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    status, job = ask(port, "POST", "/api/v1/jobs", form(files), Content_Type=kind)
    assert status == 202, job
    until = time.monotonic() + 20
    while not ask(port, "GET", f"/api/v1/jobs/{job['id']}")[1]["frames_done"]:
        assert time.monotonic() < until
        time.sleep(0.02)
    begin = time.monotonic()
    process.send_signal(number)
    told = process.communicate(timeout=20)[1]
    assert (process.returncode, "Traceback" in told) == (code, False), told
    assert time.monotonic() - begin < 15  # the job alone takes longer
    assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.slow
def test_password_from_the_environment_and_only_this_machine(start) -> None:
    process, port = start(SYNHEAD_WEB_PASSWORD="grün")
    assert ask(port, "GET", "/api/v1/options")[0] == 401
    assert ask(port, "GET", "/api/v1/options", Authorization="Bearer grün".encode().decode("latin-1"))[0] == 200
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    assert f"0100007F:{port:04X}" in listening  # 127.0.0.1, low byte first
    assert f"00000000:{port:04X}" not in listening
    process.terminate()
    told = process.communicate()[1]
    assert "UNTRAINED" in told
    assert "agreed" in told


def test_names_that_are_served() -> None:
    assert _names(Doors()) == LOCAL_HOSTS
    assert _names(Doors(hosts=("Box.example",))) == (*LOCAL_HOSTS, "box.example")
    assert _names(Doors(host="0.0.0.0", hosts=("box",))) == (*LOCAL_HOSTS, "box")
    assert _names(Doors(host="0.0.0.0")) == ("*",)


@pytest.mark.parametrize("name", ["https://box.example", "box.example/", "box.example:8766", "::1", "a b", ""])
def test_what_no_request_asks_for_is_no_name(name: str) -> None:
    """A server behind a proxy refused everybody."""
    with pytest.raises(ConfigError, match="without scheme, port and path"):
        Doors(hosts=("box.example", "[::1]", "*", "10.0.0.7", name))


def test_an_empty_variable_is_no_password(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of docker run -e NAME=$UNSET: the server was open to all."""
    monkeypatch.setenv("SYNHEAD_WEB_PASSWORD", "")
    finished = run("web", "--preset", "tiny", "--port", 0, "--host", "203.0.113.1")
    assert (finished.code, "the password is empty" in finished.err) == (2, True), finished.err


def test_wrong_use_is_told_in_one_line(run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for options, part in (
            (("--port", port), "choose another --port"),
            (("--port", 0, "--host", "203.0.113.1"), "choose another --host: an address of this machine"),
            (("--port", 0, "--password", ""), "the password is empty"),
            (("--templates", tmp_path / "none"), "--templates"),
            (("--port", 0, "--folder", tmp_path / "none"), "--folder"),
            (("--max-seconds", 0), "seconds"),
        ):
            finished = run("web", "--preset", "tiny", "--device", "cpu", *options)
            assert finished.code == 2
            assert part in finished.err.splitlines()[-1]
