"""Kill at any moment, resume, and the losses are those of the unbroken run, bit for bit on the CPU."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from training_factory import TRAINING, RandomPairs, make_run

from synhead.training import checkpoint
from synhead.training.checkpoint import read
from synhead.training.consensus import Consensus
from synhead.training.events import Events
from synhead.training.loop import train
from synhead.training.meters import Meters
from synhead.training.run import NonFiniteError
from synhead.weights.checkpoint import CheckpointError

SPLIT = replace(TRAINING, dead_codes="split", restart_every=3)


def losses(folder: Path) -> dict[int, dict[str, float]]:
    """Loss terms by iteration; the last line of an iteration counts."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    wanted = ("loss/", "codes/", "rate")
    return {line["iteration"]: {n: v for n, v in line.items() if n.startswith(wanted)} for line in lines}


def assert_same_state(one: Path, two: Path) -> None:
    left, right = read(one), read(two)
    assert left.tensors.keys() == right.tensors.keys()
    for file, tensors in left.tensors.items():
        assert tensors.keys() == right.tensors[file].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, right.tensors[file][name]), f"{file}/{name}"
    assert {**left.scalars["counters"], "seconds": 0} == {**right.scalars["counters"], "seconds": 0}
    assert left.scalars["data"] == right.scalars["data"]


@pytest.fixture(scope="module")
def unbroken(fabric: Fabric, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    outcome = train(make_run(fabric, folder, SPLIT))
    assert (outcome.reason, outcome.iteration) == ("finished", 6)
    return folder


def in_child(work: Callable[[], object]) -> int:
    """Run in a forked process; its number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    finally:
        os._exit(1)


def killed(child: int) -> bool:
    return os.WIFSIGNALED(status := os.waitpid(child, 0)[1]) and os.WTERMSIG(status) == signal.SIGKILL


def test_killed_in_the_middle_of_the_run(fabric: Fabric, tmp_path: Path, unbroken: Path) -> None:
    child = in_child(lambda: train(make_run(fabric, tmp_path, SPLIT)))
    metrics = tmp_path / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and (not metrics.is_file() or metrics.read_text().count("\n") < 3):
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    assert killed(child)
    train(make_run(fabric, tmp_path, SPLIT))
    assert losses(tmp_path) == losses(unbroken)
    assert_same_state(tmp_path / "checkpoints/iteration-000000006", unbroken / "checkpoints/iteration-000000006")


@pytest.mark.parametrize("call", [3, 10])
def test_killed_in_the_middle_of_a_checkpoint(fabric: Fabric, tmp_path: Path, unbroken: Path, call: int) -> None:
    """Of the first checkpoint (nothing to go on from) and of the second."""

    def work() -> None:
        calls = iter(range(1000))
        write = checkpoint.synchronise

        def die(path: Path) -> None:
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            write(path)

        checkpoint.synchronise = die
        train(make_run(fabric, tmp_path, SPLIT))

    assert killed(in_child(work))
    found = [path.name for path in (tmp_path / "checkpoints").glob("iteration-*")]
    assert found == ([] if call == 3 else ["iteration-000000002"])
    train(make_run(fabric, tmp_path, SPLIT))
    assert losses(tmp_path) == losses(unbroken)
    assert_same_state(tmp_path / "checkpoints/iteration-000000006", unbroken / "checkpoints/iteration-000000006")


def test_stopped_and_resumed_in_legs(fabric: Fabric, tmp_path: Path, unbroken: Path) -> None:
    for _ in range(6):
        asked = iter([False, False, True, True, True, True])
        run = make_run(fabric, tmp_path, SPLIT)
        outcome = train(replace(run, stop=lambda asked=asked: next(asked)))  # type: ignore[misc]
        if outcome.reason == "finished":
            break
    assert outcome.reason == "finished"
    assert losses(tmp_path) == losses(unbroken)
    assert_same_state(outcome.checkpoint, unbroken / "checkpoints/iteration-000000006")


def test_nan_stops_with_the_last_good_state(fabric: Fabric, tmp_path: Path) -> None:
    """Iteration 4 is the first with a bad pair; the checkpoint of iteration 2 stays, none of 4 is written."""
    bad = RandomPairs(bad_from=7)
    with pytest.raises(NonFiniteError, match=r"iteration 4: .*iteration-000000002"):
        train(make_run(fabric, tmp_path, replace(TRAINING, every=replace(TRAINING.every, check=100)), bad))
    run = make_run(fabric, tmp_path)
    assert run.steps.state.counters.iteration == 2
    train(run)
    assert [path.name for path in run.checkpoints.all()][-1] == "iteration-000000006"


def test_weights_that_are_no_numbers_are_never_kept(fabric: Fabric, tmp_path: Path) -> None:
    """Neither as the best validation nor by ``every.weights``, which may come before anybody asks for the losses."""
    held_out = RandomPairs().next_batch(1)
    run = replace(make_run(fabric, tmp_path), validation=lambda: [(held_out.source, held_out.driving)])
    consensus = Consensus(fabric)
    events = Events(run, consensus, Meters(fabric, run.steps.state.model.config))
    for parameter in run.steps.state.ema.model.parameters():
        parameter.fill_(float("nan"))
    report = events.validate()
    assert report is not None
    assert math.isnan(report.psnr)
    assert run.steps.state.counters.best_psnr == 0
    with pytest.raises(CheckpointError, match="weights-0 holds non-finite values"):
        events.keep_weights()
    consensus.watch(7, torch.tensor(float("inf")))
    with pytest.raises(NonFiniteError, match="iteration 7: "):
        events.keep_weights()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_nan_before_any_checkpoint(fabric: Fabric, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"iteration 1: .*no checkpoint .*start again with"):
        train(make_run(fabric, tmp_path, pairs=RandomPairs(bad_from=0)))


def test_a_state_that_is_not_finite_is_never_written(fabric: Fabric, tmp_path: Path) -> None:
    run = make_run(fabric, tmp_path, replace(TRAINING, iterations=1))
    with torch.no_grad():
        next(iter(run.steps.state.ema.model.decoder.parameters())).fill_(float("inf"))
    with pytest.raises(CheckpointError, match="ema holds non-finite values"):
        train(run)
    assert run.checkpoints.all() == []


def test_a_full_disk_stops_the_run_with_the_old_checkpoint(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    run = make_run(fabric, tmp_path, replace(TRAINING, iterations=2))
    train(run)
    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        train(make_run(fabric, tmp_path))
    assert run.checkpoints.latest() == run.checkpoints.path(2)


def test_a_checkpoint_of_another_model_is_refused(fabric: Fabric, tmp_path: Path) -> None:
    train(make_run(fabric, tmp_path, replace(TRAINING, iterations=1)))
    with pytest.raises(CheckpointError, match="does not fit this run's model"):
        make_run(fabric, tmp_path, replace(TRAINING, discriminator_width=8))
