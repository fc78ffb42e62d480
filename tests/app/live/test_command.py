from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.app.live.test_cameras import FakeCamera


@pytest.mark.usefixtures("real_faces")
def test_a_video_drives_a_virtual_camera(run, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_camera(**given: object) -> FakeCamera:
        opened.append(FakeCamera(**given))
        return opened[0]

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=open_camera))
    given = ["--driving", media / "driving.mp4", "--preset", "tiny", "--center", "--seconds", 1.5]
    done = run("live", media / "portrait.jpg", *given)
    assert done.code == 0, done.err
    assert "UNTRAINED" in done.err
    assert "virtual camera: /dev/video9" in done.out
    assert opened[0].closed
    assert opened[0].size == (64, 64, 25)
    assert f"{len(opened[0].sent)} pictures" in done.out


def test_what_cannot_be_is_told_in_a_line(run, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=FakeCamera))
    portrait = media / "portrait.jpg"
    wrong = {
        "give PORTRAIT, or --serve": ["live"],
        "not both": ["live", portrait, "--serve"],
        "--center on the command line": ["live", portrait, "--preset", "tiny"],
        "no camera /dev/none": ["live", portrait, "--preset", "tiny", "--center", "--camera", "/dev/none"],
        "does not exist": ["live", portrait, "--preset", "tiny", "--center", "--driving", media / "none.mp4"],
        "--smooth, --label: without effect here": ["live", "--serve", "--smooth", 2, "--label", "KI"],
        "leave --driving out": ["live", "--serve", "--driving", media / "driving.mp4"],
        "leave --camera out": ["live", portrait, "--camera", "a", "--driving", media / "driving.mp4"],
        "--host, --port: without effect": ["live", portrait, "--host", "0.0.0.0", "--port", 80],
        "leave --seconds out": ["live", "--serve", "--seconds", 0],
        "Invalid value for '--seconds'": ["live", portrait, "--preset", "tiny", "--seconds", "nan"],
        "motion multiplier": ["live", portrait, "--preset", "tiny", "--multiplier", 9],
        "choose another --host": ["live", "--serve", "--preset", "tiny", "--host", "203.0.113.1"],
    }
    for words, given in wrong.items():
        done = run(*given)
        assert done.code == 2, (words, done)
        assert words in done.err
        assert "Traceback" not in done.err


def test_inputs_are_looked_at_before_the_model_is_loaded(run, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("synhead.app.live.command.load_animator", never)
    for given in ([media / "none.jpg"], [media / "portrait.jpg", "--driving", media / "portrait.jpg"]):
        done = run("live", *given, "--preset", "tiny")
        assert done.code == 2, done
        assert "none.jpg does not exist" in done.err or "is a still image" in done.err


@pytest.mark.parametrize("name", ["fastapi", "uvicorn"])
def test_what_the_page_needs_is_the_extra_of_live(run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It was that of the web server, which finds no faces."""
    monkeypatch.delitem(sys.modules, "synhead.app.live.serving", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    done = run("live", "--serve", "--preset", "tiny", "--port", 0)
    assert done.code == 2
    assert f"needs {name}; pip install 'synhead[live]'" in done.err


def test_a_page_that_could_not_connect_is_not_served(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synhead.app.live.serving.find_spec", lambda _: None)
    done = run("live", "--serve", "--preset", "tiny", "--port", 0)
    assert done.code == 2
    assert "synhead[live]" in done.err


def test_the_page_is_served_on_this_machine_until_ctrl_c() -> None:
    command = "from synhead.app.cli import main; main(['live', '--serve', '--preset', 'tiny', '--port', '0'])"
    with subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        address = server.stdout.readline().decode().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=10) as page:
            assert b"Live portrait" in page.read()
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=20)
    assert b"Traceback" not in errors
