from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from synhead.data.video import VideoWriter
from synhead.faces.analyzer import FaceBox
from synhead.faces.boxes import Box
from synhead.training.preparation import run as preparation


def write_face_video(path: Path, *, seed: int, frames: int = 16, shift: int = 0) -> Path:
    """A red square, which the stub takes for a face, over grey blocks."""
    blocks = np.random.default_rng(seed).integers(0, 160, (20, 30, 1)).astype(np.uint8)
    frame = np.repeat(np.repeat(blocks, 8, 0), 8, 1).repeat(3, 2)
    frame[30:134, 40 + shift : 144 + shift] = (230, 10, 10)
    with VideoWriter(path, rate=Fraction(10), size=(240, 160)) as writer:
        for _ in range(frames):
            writer.write(frame)
    return path


class RedSquares:
    version = "red squares 1"

    def boxes(self, image):
        red = (image[..., 0] > 180) & (image[..., 1] < 80)
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        if not len(rows):
            return ()
        edges = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return (FaceBox(Box(*(float(edge) for edge in edges)), 0.9),)

    def close(self):
        pass


@pytest.fixture
def stub(monkeypatch):
    """The stub for a detector, in this process."""

    def in_order(prepare, sources, workers):
        return (prepare(source, opener=RedSquares) for source in sources)

    monkeypatch.setattr(preparation, "open_detector", RedSquares)
    monkeypatch.setattr(preparation, "_in_processes", in_order)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    write_face_video(folder / "a.mp4", seed=1)
    write_face_video(folder / "b.mp4", seed=2, shift=30)
    (folder / "c.mp4").write_bytes(b"no video at all")
    return folder


def test_clips_summary_and_resume(run, stub, videos):
    clips = videos.parent / "clips"
    first = run("prepare", videos, "-o", clips, "--min-seconds", 1, "--validation-share", 0.999999)
    assert first.code == 0, first.err
    assert f"{clips}: 2 clips (2 held out) from 3 video(s), in " in first.out
    assert f"left out: 1 unreadable; each with its reason in {clips / 'skipped.jsonl'}" in first.out
    assert "3/3" in first.err
    assert "synhead train --data" in first.err
    assert len((clips / "index.jsonl").read_text().splitlines()) == 2
    again = run("prepare", videos, "-o", clips, "--min-seconds", 1, "--validation-share", 0.999999)
    assert "2 clips (2 held out) from 3 video(s), 2 of them done before" in again.out
    other = run("prepare", videos, "-o", clips, "--min-seconds", 1)
    assert (other.code, other.out) == (2, "")
    assert "prepared with another validation_share" in other.err


def test_every_option_reaches_the_library(run, stub, videos):
    given = {
        "size": 512, "min-face-px": 50, "min-seconds": 0.5, "max-seconds": 1.1, "max-rate": 5, "detect-every": 2,
        "min-overlap": 0.3, "min-sharpness": 1, "scene-cut": 0.3, "duplicate-bits": -1, "person": "folder",
        "validation-share": 0.1, "crf": 30, "workers": 1,
    }  # fmt: skip
    flags = [part for name, value in given.items() for part in (f"--{name}", value)]
    done = run("prepare", videos, "-o", videos.parent / "clips", *flags)
    assert done.code == 0, done.err
    written = json.loads((videos.parent / "clips" / "options.json").read_text())
    for name, value in written.items():
        assert value == given[name.replace("_", "-")], name
    records = [json.loads(line) for line in (videos.parent / "clips" / "index.jsonl").read_text().splitlines()]
    assert {record["person"] for record in records} == {"videos"}
    assert len(records) == 4  # 1.4 seconds each, in two parts


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "nowhere does not exist; check the path"),
        ((".",), "no video in ."),
        (("c.mp4",), "no clip came of 1 video(s) (1 unreadable)"),
        (("c.mp4", "--min-seconds", "9"), "min_seconds must be positive and at most max_seconds"),
        (("c.mp4", "--validation-share", "1"), "validation_share must be in"),
    ],
)
def test_bad_input_is_one_line(run, stub, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    if "c.mp4" in arguments:
        Path("c.mp4").write_bytes(b"no video at all")
    done = run("prepare", *arguments, "-o", "clips")
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err


STUBBED = """
import sys, time
sys.path.insert(0, {here!r})
from test_prepare import RedSquares, preparation
from synhead.training.preparation import worker
from synhead.app.cli import main

class Slow(RedSquares):
    def boxes(self, image):
        time.sleep(0.2)
        return super().boxes(image)

def prepare_slowly(source, *, output, options):
    return worker.prepare_input(source, output, options, opener=Slow)

preparation.open_detector, preparation.prepare_input = Slow, prepare_slowly
if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_workers_leave_ctrl_c_and_a_closed_terminal_to_the_parent():
    names = ("SIGINT", "SIGHUP", "SIGTERM")
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    try:
        preparation._heed_only_the_parent()
        for name in names[:2]:
            os.kill(os.getpid(), getattr(signal, name))
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_goes_on(tmp_path, videos):
    """Sent to the whole group of processes, as a terminal does; workers end at once and leave nothing half-written."""
    write_face_video(videos / "b.mp4", seed=2, shift=30, frames=500)
    program = tmp_path / "stubbed.py"
    program.write_text(STUBBED.format(here=str(Path(__file__).parent)))
    clips = tmp_path / "clips"
    command = [sys.executable, str(program), "prepare", str(videos), "-o", str(clips), "--min-seconds", "1"]
    child = subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    journal = clips / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.is_file() and journal.read_text().count("\n") == 1) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)  # in the middle of b
    os.killpg(child.pid, signal.SIGINT)
    started = time.monotonic()
    out, err = child.communicate(timeout=60)
    assert time.monotonic() - started < 15, "the workers were waited for"
    assert child.returncode == 130, err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert out == ""
    assert len(list((clips / "clips").iterdir())) == 1

    write_face_video(videos / "b.mp4", seed=2, shift=30)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "2 clips from 3 video(s), 1 of them done before" in done.stdout, done.stderr
