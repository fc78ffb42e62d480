"""``synhead batch --on ray`` with real workers, of a cluster of this machine alone."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synhead.data.video import read_frames
from tests.app.conftest import FRAMES

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

MIDDLE = {"framing": {"crop": "center"}, "driving_framing": {"crop": "center"}}
OUTPUTS = [f"{number}.{kind}" for number in range(4) for kind in ("mp4", "gif")]
PROGRAM = [sys.executable, "-c", "from synhead.app.cli import main; main()", "batch"]


@pytest.fixture
def jobs(media: Path, tmp_path: Path) -> Path:
    needed = {"source": str(media / "portrait.jpg"), "driving": str(media / "driving.mp4"), **MIDDLE}
    path = tmp_path / "jobs.jsonl"
    path.write_text("".join(json.dumps({**needed, "output": output}) + "\n" for output in OUTPUTS))
    return path


def options(folder: Path, workers: int = 2) -> list[str]:
    return ["--preset", "tiny", "--device", "cpu", "--workers", str(workers), "--log", str(folder / "logs")]


def records(folder: Path) -> list[dict[str, object]]:
    journal = folder / "jobs.jsonl.journal"
    return [json.loads(line) for line in journal.read_text().split("\n")[:-1]] if journal.exists() else []


@contextmanager
def running(*given: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*PROGRAM, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def alive(process: int) -> bool:
    return Path(f"/proc/{process}/stat").exists()


def test_ctrl_c_half_way_then_the_rest(jobs: Path, tmp_path: Path) -> None:
    with running(str(jobs), "--on", "ray", *options(tmp_path)) as first:
        while sum(record["event"] == "done" for record in records(tmp_path)) < 3:
            assert first.poll() is None, first.communicate()
            time.sleep(0.02)
        first.send_signal(signal.SIGINT)
        out, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert "stopped: nothing was left half-written" in err
    assert out.count(" frames in ") >= 2  # the third may be done, but not told yet
    workers = {int(found) for found in re.findall(r"process (\d+)\) is ready", err)}
    assert workers
    assert not any(alive(worker) for worker in workers)
    assert {path.name for path in tmp_path.iterdir()} - {"jobs.jsonl", "jobs.jsonl.journal", "logs"} < set(OUTPUTS)
    with running(str(jobs), "--engine", "ray", *options(tmp_path, 1)) as second:
        out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert re.fullmatch(r"\d+ done, \d+ done before, 0 failed", out.splitlines()[-1])
    done = sorted(str(record["key"]) for record in records(tmp_path) if record["event"] == "done")
    assert done == sorted(OUTPUTS)
    for output in OUTPUTS:
        assert len(list(read_frames(tmp_path / output))) == FRAMES
        told = [json.loads(line) for line in (tmp_path / "logs" / f"{output}.log").read_text().splitlines()]
        assert ("process" in told[-1]["worker"], told[-1]["report"]["frames"]) == (True, FRAMES)
    assert {path.name for path in tmp_path.iterdir()} == {"jobs.jsonl", "jobs.jsonl.journal", "logs", *OUTPUTS}


def test_errors_come_back(jobs: Path, tmp_path: Path) -> None:
    lines = jobs.read_text().splitlines()[:3]
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"no video")
    gone = {**json.loads(lines[0]), "output": "gone.mp4", "source": "gone.jpg"}
    bad = {**json.loads(lines[0]), "output": "bad.mp4", "driving": "damaged.mp4"}
    jobs.write_text("\n".join([json.dumps(gone), json.dumps(bad), *lines]))
    with running(str(jobs), "--on", "ray", *options(tmp_path, 1)) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert out.splitlines()[-1] == "3 done, 0 done before, 2 failed"
    assert "failed: line 1, gone.mp4: MediaError" in err
    assert "failed: line 2, bad.mp4: MediaError" in err
    (told,) = (json.loads(line) for line in (tmp_path / "logs" / "bad.mp4.log").read_text().splitlines())
    assert "in animate_video" in told["traceback"]
    assert "in run" in told["traceback"]
