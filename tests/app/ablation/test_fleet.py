from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from synhead.app.ablation import fleet
from synhead.app.ablation.fleet import CPU, Device, parse_devices, run_all
from synhead.app.ablation.plan import Stage, Task, TaskError
from synhead.config import ConfigError
from tests.app.ablation.test_plan import request

TRAIN = "import os, pathlib; pathlib.Path('trained').write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
WAIT = """
import pathlib, signal, sys, time
def stop(number, frame):
    with open('signals', 'a') as file: file.write('x')
    sys.exit(0)
signal.signal(signal.SIGINT, stop)
pathlib.Path('ready').touch()
time.sleep(60)
"""
STUBBORN = WAIT.replace("    sys.exit(0)\n", "")


@dataclass(frozen=True)
class Script(Task):
    """A task that runs lines of Python in its folder instead of the trainer."""

    lines: str = TRAIN

    def stage(self) -> Stage | None:
        if not (self.folder / "trained").is_file():
            return Stage("train")
        return None if (self.folder / "measured").is_file() else Stage("measure")

    def command(self, stage: Stage, *, device: str) -> list[str]:
        assert device in {"cpu", "cuda"}
        lines = self.lines if stage.action == "train" else "import pathlib; pathlib.Path('measured').touch()"
        return [sys.executable, "-c", f"import os; os.chdir({str(self.folder)!r})\n{lines}"]

    def settle(self, stage: Stage) -> None:
        if stage.action == "train" and not (self.folder / "trained").is_file():
            raise TaskError("nothing trained")


def scripts(folder: Path, *lines: str) -> list[Script]:
    return [Script(request(), folder / f"run{i}", "smc", i, lines=each) for i, each in enumerate(lines)]


def test_every_device_works_and_sees_its_gpu(tmp_path: Path) -> None:
    tasks = scripts(tmp_path, TRAIN, TRAIN, TRAIN)
    told: list[str] = []
    devices = [Device("GPU 0", "cuda", "4"), Device("GPU 1", "cuda", "7")]
    assert run_all(tasks, devices, told.append) == []
    assert {(task.folder / "trained").read_text() for task in tasks} == {"4", "7"}
    assert all(task.stage() is None for task in tasks)
    assert sum(line.endswith(": done") for line in told) == 3
    told.clear()
    run_all(tasks, devices, told.append)
    assert [line.endswith("done before") for line in told] == [True] * 3


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    tasks = scripts(tmp_path, "raise ValueError('no luck')", "pass", TRAIN)
    failures = run_all(tasks, [CPU], [].append)
    assert [failure.task for failure in failures] == tasks[:2]
    assert "ValueError: no luck" in failures[0].reason
    assert failures[1].reason == "nothing trained"
    assert tasks[2].stage() is None


def interrupt_when_ready(tasks: list[Script], monkeypatch: pytest.MonkeyPatch) -> None:
    pause = time.sleep

    def sleep(seconds: float) -> None:
        if all((task.folder / "ready").exists() for task in tasks):
            monkeypatch.setattr(fleet.time, "sleep", pause)  # waiting for children sleeps too
            raise KeyboardInterrupt
        pause(seconds)

    monkeypatch.setattr(fleet.time, "sleep", sleep)


def test_ctrl_c_stops_all_children_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = scripts(tmp_path, WAIT, WAIT)
    interrupt_when_ready(tasks, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_all([*tasks, *scripts(tmp_path / "later", TRAIN)], [CPU, Device("GPU", "cuda", "0")], [].append)
    assert [(task.folder / "signals").read_text() for task in tasks] == ["x", "x"]
    assert not (tmp_path / "later").exists()


def test_a_child_that_does_not_stop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "_GRACE_S", 0.5)
    tasks = scripts(tmp_path, STUBBORN)
    interrupt_when_ready(tasks, monkeypatch)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_all(tasks, [CPU], [].append)
    assert time.monotonic() - begun < 30
    assert (tasks[0].folder / "signals").read_text() == "x"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device.visible for device in parse_devices("auto")] == ["4", "6"]
    assert [device.visible for device in parse_devices("1")] == ["6"]
    assert parse_devices("cpu") == (CPU,)
    for wrong in ("2", "0,0", "gpu"):
        with pytest.raises(ConfigError):
            parse_devices(wrong)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert parse_devices("auto") == (CPU,)
