"""``synhead batch``: the program, with the tiny model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.app.progress import BatchProgress
from synhead.data.video import read_frames
from synhead.inference.batch.journal import open_journal
from tests.app.conftest import FRAMES, Finished

Run = Callable[..., Finished]
TINY = ("--preset", "tiny", "--device", "cpu")
MIDDLE = {"framing": {"crop": "center"}, "driving_framing": {"crop": "center"}}


@pytest.fixture
def jobs(media: Path, tmp_path: Path) -> Callable[..., Path]:
    """A jobs file whose lines have what a job needs."""

    def write(*lines: dict[str, object]) -> Path:
        path = tmp_path / "jobs.jsonl"
        needed = {"source": str(media / "portrait.jpg"), "driving": str(media / "driving.mp4"), **MIDDLE}
        path.write_text("".join(json.dumps({**needed, **line}) + "\n" for line in lines))
        return path

    return write


def test_what_an_output_cannot_be_is_told_without_its_passing_name(run: Run, jobs: Callable[..., Path]) -> None:
    finished = run("batch", jobs({"output": "a.gif", "options": {"crf": 20}}, {"output": "b.png"}), *TINY)
    assert finished.code == 1
    assert "a .gif file has no crf" in finished.err
    assert "a .png file holds one picture" in finished.err
    assert "staged" not in finished.err


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"jobs.jsonl", "jobs.jsonl.journal"}


def test_all_done_then_nothing_to_do(run: Run, jobs: Callable[..., Path], tmp_path: Path) -> None:
    path = jobs(
        {"output": "a.mp4", "name": "first"},
        {"output": "pictures", "animator": {"motion": "absolute", "batch_size": 2}},
        {"output": "b.gif", "options": {"side_by_side": True}},
    )
    finished = run("batch", path, *TINY, "--log", tmp_path / "logs")
    assert finished.code == 0, finished.err
    assert finished.out.splitlines() == [
        f"1/3 first: {FRAMES} frames in {tmp_path / 'a.mp4'}",
        f"2/3 pictures: {FRAMES} frames in {tmp_path / 'pictures'}",
        f"3/3 b.gif: {FRAMES} frames in {tmp_path / 'b.gif'}",
        "3 done, 0 done before, 0 failed",
    ]
    assert "UNTRAINED" in finished.err
    assert len(list(read_frames(tmp_path / "a.mp4"))) == FRAMES
    assert files(tmp_path) == {"a.mp4", "b.gif", "pictures", "logs"}
    assert json.loads((tmp_path / "logs" / "first.log").read_text())["report"]["frames"] == FRAMES
    finished = run("batch", path, *TINY)
    assert (finished.code, finished.out) == (0, "0 done, 3 done before, 0 failed\n")


def test_motion_options_of_a_line_are_followed(run: Run, jobs: Callable[..., Path], tmp_path: Path) -> None:
    still = {"edits": {"multiplier": 0.0}}
    finished = run("batch", jobs({"output": "still", "animator": still}, {"output": "moving"}), *TINY)
    assert finished.code == 0, finished.err
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).glob("*.png")} for n in ("still", "moving"))
    assert len(first) == FRAMES
    assert first.keys() == second.keys()
    assert first != second


def test_some_failed(run: Run, jobs: Callable[..., Path], tmp_path: Path) -> None:
    path = jobs({"output": "a.mp4"}, {"output": "b.mp4", "driving": "gone.mp4"}, {"output": "c.mp4", "name": "third"})
    finished = run("batch", path, *TINY, "--log", tmp_path / "logs", "--retries", 3)
    assert finished.code == 1
    assert finished.out.splitlines()[-1] == "2 done, 0 done before, 1 failed"
    assert "failed: line 2, b.mp4: MediaError:" in finished.err
    assert "gone.mp4 does not exist" in finished.err
    assert "Traceback" not in finished.err
    assert len((tmp_path / "logs" / "b.mp4.log").read_text().splitlines()) == 1
    assert files(tmp_path) == {"a.mp4", "c.mp4", "logs"}
    stopped = run("batch", path, *TINY, "--fail-fast")
    assert (stopped.code, stopped.out) == (1, "0 done, 2 done before, 1 failed\n")
    jobs({"output": "a.mp4", "driving": "gone.mp4"}, {"output": "d.mp4"})
    stopped = run("batch", path, *TINY, "--fail-fast")
    assert stopped.out.splitlines()[-1] == "0 done, 0 done before, 1 failed, 1 not tried"
    assert "a.mp4: its line or the model has changed since" in stopped.err


def test_a_fault_of_the_program_is_tried_again(
    run: Run, jobs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter([True, False])

    def frames(self: BatchProgress, mark: str, done: int, total: int | None) -> None:
        if next(faults, False):
            raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(BatchProgress, "frames", frames)
    finished = run("batch", jobs({"output": "a.mp4"}), *TINY, "--log", tmp_path / "logs")
    assert finished.code == 0, finished.err
    assert "a.mp4: ZeroDivisionError, a fault of the program" in finished.err
    assert "it will be tried again" in finished.err
    first, second = map(json.loads, (tmp_path / "logs" / "a.mp4.log").read_text().splitlines())
    assert ("division by zero" in first["traceback"], second["attempt"]) == (True, 2)
    assert files(tmp_path) == {"a.mp4", "logs"}


@pytest.mark.parametrize("line", [{"output": "b.mp4", "colour": 1}, {"output": "a.mp4"}, {"output": 3}])
def test_a_bad_file_before_any_work(
    run: Run, jobs: Callable[..., Path], tmp_path: Path, line: dict[str, object]
) -> None:
    finished = run("batch", jobs({"output": "a.mp4"}, line), *TINY)
    assert finished.code == 2
    assert "line 2: " in finished.err
    assert len(finished.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "jobs.jsonl"]


def test_no_file(run: Run, tmp_path: Path) -> None:
    finished = run("batch", tmp_path / "jobs.jsonl", *TINY)
    assert finished.code == 2
    assert "No such file" in finished.err


def test_two_runs_at_once(run: Run, jobs: Callable[..., Path], tmp_path: Path) -> None:
    path = jobs({"output": "a.mp4"})
    with open_journal(tmp_path / "jobs.jsonl.journal"):
        finished = run("batch", path, *TINY)
    assert finished.code == 2
    assert f"another run works with {path}.journal (process {os.getpid()})" in finished.err
    assert files(tmp_path) == set()


def test_ctrl_c(run: Run, jobs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jobs({"output": "a.mp4"}, {"output": "b.mp4"})
    stops = iter([False] * (FRAMES + 2))

    def frames(self: BatchProgress, mark: str, done: int, total: int | None) -> None:
        if next(stops, True):
            raise KeyboardInterrupt

    monkeypatch.setattr(BatchProgress, "frames", frames)
    finished = run("batch", path, *TINY, "--batch", 1)
    assert finished.code == 130
    assert files(tmp_path) == {"a.mp4"}
    monkeypatch.undo()
    finished = run("batch", path, *TINY)
    assert (finished.code, finished.out.splitlines()[-1]) == (0, "1 done, 1 done before, 0 failed")


COUNTED = """
import os
import sys
import time
from synhead.app.cli import main
from synhead.inference.batch import run

animate, begun = run.animate_video, []

def counted(animator, job, progress, **named):
    begun.append(job)

    def held(done, total):
        progress(done, total)
        if (len(begun), done) == (3, 2) and "HOLD" in os.environ:
            print("held", flush=True)
            time.sleep(600)

    report = animate(animator, job, held, **named)
    print("ends", flush=True)
    return report

run.animate_video = counted
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_half_way_and_started_again(run: Run, jobs: Callable[..., Path], tmp_path: Path) -> None:
    """A real kill -9 while the third job is being written; then each is there once, whole, and nothing else."""
    outputs = ["a.mp4", "b.webm", "c", "d.gif", "e.mp4"]
    path = jobs(*({"output": name} for name in outputs))
    given = [sys.executable, "-c", COUNTED, "batch", str(path), *TINY]
    environment = {**os.environ, "HOLD": "1"}
    first = subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    told: list[str] = []
    try:
        assert first.stdout is not None
        while "held\n" not in told:
            told.append(first.stdout.readline())
            assert told[-1]
        refused = run("batch", path, *TINY)
        assert refused.code == 2
        assert f"(process {first.pid})" in refused.err
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=30)
    assert any(name.endswith(".partial") for name in files(tmp_path))
    assert files(tmp_path) > {"a.mp4", "b.webm"}
    stamps = {name: (tmp_path / name).stat().st_mtime_ns for name in outputs[:2]}
    second = subprocess.run(given, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines()[-1] == "3 done, 2 done before, 0 failed"
    assert told.count("ends\n") + second.stdout.count("ends\n") == len(outputs)
    assert files(tmp_path) == set(outputs)
    assert stamps == {name: (tmp_path / name).stat().st_mtime_ns for name in outputs[:2]}
    for name in ("a.mp4", "b.webm", "e.mp4"):
        assert len(list(read_frames(tmp_path / name))) == FRAMES
    assert len(list((tmp_path / "c").glob("*.png"))) == FRAMES
    records = [json.loads(line) for line in (tmp_path / "jobs.jsonl.journal").read_text().splitlines()]
    assert [record["key"] for record in records if record["event"] == "done"] == outputs


def test_the_engine_is_chosen_and_told(run: Run, jobs: Callable[..., Path], tmp_path: Path) -> None:
    finished = run("batch", jobs({"output": "a.gif"}), *TINY, "--engine", "eager", "--log", tmp_path / "logs")
    assert finished.code == 0, finished.err
    assert json.loads((tmp_path / "logs" / "a.gif.log").read_text())["report"]["engine"] == "eager"
    finished = run("batch", jobs({"output": "b.gif"}), *TINY, "--engine", "steam")
    assert (finished.code, "unknown engine 'steam'" in finished.err) == (2, True)


@pytest.mark.parametrize("option", ["--workers", "--cpus-per-worker", "--gpus-per-worker"])
def test_options_about_ray_without_it(run: Run, jobs: Callable[..., Path], option: str) -> None:
    finished = run("batch", jobs({"output": "a.mp4"}), *TINY, option, 1)
    assert (finished.code, finished.out) == (2, "")
    assert f"{option}" in finished.err
    assert "need --on ray" in finished.err


def test_devices_on_ray(run: Run, jobs: Callable[..., Path]) -> None:
    finished = run("batch", jobs({"output": "a.mp4"}), "--preset", "tiny", "--device", "cuda:1", "--on", "ray")
    assert (finished.code, "give --device cuda instead of cuda:1" in finished.err) == (2, True)
    finished = run("batch", jobs({"output": "a.mp4"}), *TINY, "--on", "ray", "--gpus-per-worker", 1)
    assert (finished.code, "--device cpu needs no --gpus-per-worker" in finished.err) == (2, True)


@pytest.mark.parametrize("asked", [("--on", "ray"), ("--engine", "ray")])
def test_no_ray(
    run: Run, jobs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    finished = run("batch", jobs({"output": "a.mp4"}), *TINY, *asked)
    assert finished.code == 2
    assert finished.err.splitlines()[-1] == "error: ray is not installed; pip install 'synhead[cluster]'"
    assert files(tmp_path) == set()


def test_a_cluster_that_is_not_there(run: Run, jobs: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        finished = run("batch", jobs({"output": "a.mp4"}), *TINY, "--on", "ray", "--address", address)
    assert finished.code == 2
    assert f"error: no Ray cluster at {address}: nobody answers" in finished.err
    assert files(tmp_path) == set()


def test_ray_is_not_touched_unless_asked_for(jobs: Callable[..., Path]) -> None:
    code = "import sys\nfrom synhead.app.cli import main\ntry:\n    main(sys.argv[1:])\n"
    code += "finally:\n    assert 'ray' not in sys.modules"
    given = [sys.executable, "-c", code, "batch", str(jobs({"output": "a.mp4"})), *TINY]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
