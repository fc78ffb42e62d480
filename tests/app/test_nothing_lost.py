"""Whatever stops a run, nothing of the user's is lost and nothing half-written has the final name."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from synhead.app.progress import FrameProgress
from synhead.data.image import read_image, write_image
from synhead.data.video import VideoWriter, read_frames
from tests.app.conftest import Finished

Run = Callable[..., Finished]
MIDDLE = ("--preset", "tiny", "--crop", "center", "--driving-crop", "center", "--batch", 1)
KINDS = ["out.mp4", "out.webm", "out.gif", "out"]


@pytest.fixture
def inputs(media: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The user's own folder, with copies of both files."""
    portrait, driving = tmp_path / "portrait.png", tmp_path / "driving.mp4"
    write_image(portrait, read_image(media / "portrait.jpg"))
    driving.write_bytes((media / "driving.mp4").read_bytes())
    return portrait, driving


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
def test_stopped_in_the_middle(
    run: Run,
    inputs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    failure: type[BaseException] | BaseException,
) -> None:
    if "." in name:
        (tmp_path / name).write_bytes(b"an earlier run's")
    else:
        finished = run("animate", *inputs, "-o", tmp_path / name, *MIDDLE)
        assert finished.code == 0, finished.err
    before = contents(tmp_path)

    def stop(self: FrameProgress, done: int, total: int | None) -> None:
        if done == 3:
            raise failure

    monkeypatch.setattr(FrameProgress, "update", stop)
    finished = run("animate", *inputs, "-o", tmp_path / name, *MIDDLE)
    assert finished.code == (130 if failure is KeyboardInterrupt else 2)
    assert "Traceback" not in finished.err
    assert contents(tmp_path) == before


@pytest.mark.skipif(not Path("/dev/full").exists() or sys.platform != "linux", reason="needs a small file system")
def test_a_full_disk(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    """A limit on the size of files acts as a full disk does, in the middle of writing."""
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "out.mp4"
    out.write_bytes(b"earlier")
    before = contents(tmp_path)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192));"
        "from synhead.app.cli import main; main(sys.argv[1:])"
    )
    given = [sys.executable, "-c", code, "animate", *inputs, "-o", out, *MIDDLE, "--crf", 0]
    done = subprocess.run([str(part) for part in given], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stderr or "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(tmp_path) == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_from_outside(inputs: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    """A real signal, after the temporary file has appeared, during a driver of many frames."""
    portrait, driving = inputs
    frames = [frame.image for frame in read_frames(driving)]
    long = tmp_path / "long.mp4"
    with VideoWriter(long, rate=Fraction(25), size=(64, 72)) as writer:
        for index in range(400):
            writer.write(frames[index % len(frames)])
    before = contents(tmp_path)
    # what runs in the background inherits that the signal is ignored
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from synhead.app.cli import main; main(sys.argv[1:])"
    )
    given = [sys.executable, "-c", code]
    given += ["animate", portrait, long, "-o", tmp_path / "out.mp4", *MIDDLE]
    running = subprocess.Popen([str(part) for part in given], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*partial*")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.05)
    assert list(tmp_path.glob(".*partial*"))
    number = getattr(signal, name)
    running.send_signal(number)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 128 + number, told
    assert "stopped" in told
    assert contents(tmp_path) == before


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("way", ["same", "symlink", "hardlink"])
def test_output_that_is_an_input(run: Run, inputs: tuple[Path, Path], tmp_path: Path, which: int, way: str) -> None:
    output = inputs[which]
    if way != "same":
        output = tmp_path / f"link{inputs[which].suffix}"
        (os.symlink if way == "symlink" else os.link)(inputs[which], output)
    before = contents(tmp_path)
    finished = run("animate", *inputs, "-o", output, *MIDDLE)
    assert finished.code == 2
    assert "is the input" in finished.err
    assert contents(tmp_path) == before


def test_preview_over_the_photo(run: Run, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    before = contents(tmp_path)
    finished = run("animate", inputs[0], "--preview", inputs[0], "--crop", "center")
    assert finished.code == 2
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_written(run: Run, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = Path("/proc/out.mp4")  # not even root writes there
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        target = tmp_path / "locked" / "out.mp4"
    finished = run("animate", *inputs, "-o", target, *MIDDLE)
    assert finished.code == 2
    assert "choose a folder you may write to" in finished.err
