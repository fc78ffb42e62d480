"""Runs on several devices at once: one process a device, the next run as soon as one is free, a clean stop of all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synhead.app.ablation.plan import Stage, Task, TaskError
from synhead.app.stopping import stopped_by_signals
from synhead.config import ConfigError

Show = Callable[[str], None]

_POLL_S, _NEWS_S, _GRACE_S = 0.2, 60.0, 180.0


@dataclass(frozen=True, slots=True)
class Device:
    """Where one process runs: ``kind`` is what it is told, ``visible`` the GPUs that it sees."""

    name: str
    kind: str
    visible: str

    def environment(self) -> Mapping[str, str]:
        """The environment of a process on it."""
        return {**os.environ, "CUDA_VISIBLE_DEVICES": self.visible}


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that could not be finished, and why in one line."""

    task: Task
    reason: str


@dataclass(frozen=True, slots=True)
class _Running:
    task: Task
    stage: Stage
    process: subprocess.Popen[bytes]


CPU = Device(name="CPU", kind="cpu", visible="")


def parse_devices(text: str) -> tuple[Device, ...]:
    """``auto`` (every GPU, else the CPU), ``cpu``, or numbers of GPUs such as ``0,2``. Raises ConfigError."""
    import torch

    if text == "cpu":
        return (CPU,)
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    # a process sees GPUs by the numbers of this process's own list
    names = [part.strip() for part in named.split(",") if part.strip()]
    count = torch.cuda.device_count()
    if text == "auto":
        numbers = list(range(count))
    else:
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError as error:
            raise ConfigError(f"--devices {text}: expected auto, cpu, or numbers of GPUs such as 0,1") from error
        if not all(0 <= number < count for number in numbers) or len(set(numbers)) < len(numbers):
            raise ConfigError(f"--devices {text}: this machine shows {count} GPUs, from 0; name each once")
    gpus = [Device(f"GPU {n}", "cuda", names[n] if n < len(names) else str(n)) for n in numbers]
    return tuple(gpus) or (CPU,)


def run_all(tasks: Sequence[Task], devices: Sequence[Device], show: Show) -> list[Failure]:
    """Bring every task to its end; one that fails does not stop the others.

    Ctrl-C, termination and a closed terminal reach each process once, so that training saves a checkpoint; then
    KeyboardInterrupt goes on.
    """
    pending, running, failures = deque(tasks), dict[Device, _Running](), list[Failure]()
    news = time.monotonic() + _NEWS_S
    with stopped_by_signals():
        try:
            while pending or running:
                for device in devices:
                    if device not in running and pending:
                        _start(pending.popleft(), device, running, show)
                for device, each in list(running.items()):
                    code = each.process.poll()
                    if code is not None:
                        del running[device]
                        _ended(each, code, pending, failures, show)
                if time.monotonic() > news:
                    news += _NEWS_S
                    for device, each in running.items():
                        show(f"{device.name}: {each.task.name}: {_last_line(each.task.log)}")
                time.sleep(_POLL_S)
        finally:
            _stop([each.process for each in running.values()], show)
    return failures


def _start(task: Task, device: Device, running: dict[Device, _Running], show: Show) -> None:
    stage = task.stage()
    if stage is None:
        show(f"{task.name}: done before")
        return
    show(f"{device.name}: {task.name}: {stage} (log: {task.log})")
    task.folder.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        process = subprocess.Popen(
            task.command(stage, device=device.kind),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=device.environment(),
            start_new_session=True,  # the terminal's Ctrl-C comes to this process alone, which passes it on once
        )
    running[device] = _Running(task, stage, process)


def _ended(each: _Running, code: int, pending: deque[Task], failures: list[Failure], show: Show) -> None:
    reason = None if code == 0 else f"{each.stage} ended with code {code}: {_last_line(each.task.log)}"
    if reason is None:
        try:
            each.task.settle(each.stage)
        except TaskError as error:
            reason = str(error)
    if reason is not None:
        show(f"{each.task.name}: FAILED, {reason}")
        failures.append(Failure(each.task, reason))
    elif each.task.stage() is None:
        show(f"{each.task.name}: done")
    else:
        pending.appendleft(each.task)


def _stop(processes: Sequence[subprocess.Popen[bytes]], show: Show) -> None:
    """Ask once, wait for checkpoints; end what does not end by itself, or at once when interrupted again."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    if processes:
        show("stopping: runs save a checkpoint first (once more: stop at once)")
    deadline = time.monotonic() + _GRACE_S
    try:
        for process in processes:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return "no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing written yet")
