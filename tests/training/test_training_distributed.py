"""Two processes (gloo, CPU) give what one process gives on the doubled batch, batch norm aside."""

from __future__ import annotations

import copy
import gc
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from lightning_fabric import Fabric
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from training_factory import LOSSES, TRAINING, RandomPairs, make_run

from synhead.config import ConfigError
from synhead.training import distributed
from synhead.training.checkpoint import read
from synhead.training.config import ExecutionConfig, TrainingConfig
from synhead.training.distributed import leave_group, make_fabric
from synhead.training.loop import draw_batch, train
from synhead.training.run import Run
from synhead.training.step import Micro, Steps

FROZEN = replace(TRAINING, iterations=3, every=replace(TRAINING.every, checkpoint=3))


def freeze_batch_norm(run: Run) -> None:
    state = run.steps.state
    for module in (*state.model.modules(), *state.discriminator.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def gradients(run: Run) -> dict[str, torch.Tensor]:
    """Of both sides in the first iteration; the adversarial weight is of each process, so it is left out."""
    state, steps, found = run.steps.state, run.steps, {}
    freeze_batch_norm(run)
    batch = draw_batch(run, 1)

    def keep(side: str, module: nn.Module) -> None:
        found.update({f"{side}.{n}": p.grad.clone() for n, p in module.named_parameters() if p.grad is not None})

    state.generator_optimizer.register_step_pre_hook(lambda *_: keep("generator", state.model))
    state.discriminator_optimizer.register_step_pre_hook(lambda *_: keep("discriminator", state.discriminator))
    if steps.recorded is not None:
        forget = copy.deepcopy((state.model.state_dict(), state.discriminator.state_dict()))
        for _ in range(3):  # so that the fourth is a replay, which a step of nothing must not have changed
            judge(steps, batch)
        state.model.load_state_dict(forget[0])
        state.discriminator.load_state_dict(forget[1])
    judge(steps, batch)
    return found


def judge(steps: Steps, batch: list[Micro]) -> None:
    generated = steps.generator_step(batch, adversarial=False)
    steps.discriminator_step(batch, [result.image for result in generated])


def work(rank: int, world_size: int, port: int, folder: Path, job: str) -> None:
    """One process of a group, as torchrun would start it."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(world_size), "LOCAL_WORLD_SIZE": str(world_size), "GROUP_RANK": "0"}
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_RESTART_COUNT": "0"} if world_size > 1 else {}
    fabric = make_fabric(ExecutionConfig(), "cpu")
    assert (fabric.world_size, fabric.global_rank) == (world_size, rank)
    do(fabric, folder, job)
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, DistributedDataParallel)]
    leave_group(fabric)


def do(fabric: Fabric, folder: Path, job: str) -> None:
    """Nothing of it outlives its call."""
    world_size = fabric.world_size
    batch, losses = 4 // world_size, replace(LOSSES, adversarial_start=100)
    run = make_run(fabric, folder, config_for(job, batch), losses=losses, recorded=job == "recorded gradients")
    if job.endswith("gradients"):
        found = gradients(run)
        if fabric.is_global_zero:
            torch.save(found, folder / "gradients.pt")
    else:
        freeze_batch_norm(run)
        train(run)


def config_for(job: str, batch: int) -> TrainingConfig:
    return replace(FROZEN, batch=batch, iterations=2 if job == "first leg" else 3)


def start(world_size: int, folder: Path, job: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    group = mp.start_processes(  # type: ignore[no-untyped-call]
        work, args=(world_size, port, folder, job), nprocs=world_size, join=False, start_method="fork"
    )
    ends = time.monotonic() + 300
    while not group.join(timeout=max(0.0, ends - time.monotonic())):
        if time.monotonic() > ends:
            for process in group.processes:
                process.kill()
            pytest.fail(f"{job}: {world_size} processes did not end within five minutes")


@pytest.mark.parametrize("kind", ["", "recorded "])
def test_two_processes_give_the_gradient_of_the_doubled_batch(tmp_path: Path, kind: str) -> None:
    found = []
    for world_size in (1, 2):
        start(world_size, tmp_path / str(world_size), "gradients" if world_size == 1 else f"{kind}gradients")
        found.append(torch.load(tmp_path / str(world_size) / "gradients.pt", weights_only=True))
    one, two = found
    assert one.keys() == two.keys()
    assert {name.split(".")[0] for name in one} == {"generator", "discriminator"}
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_resume_with_another_number_of_processes(tmp_path: Path) -> None:
    """Two iterations with two processes, the third with one: pairs and warps go on as in one unbroken process."""
    start(2, tmp_path / "legs", "first leg")
    start(1, tmp_path / "legs", "second leg")
    start(1, tmp_path / "whole", "whole")
    legs, whole = (read(tmp_path / name / "checkpoints/iteration-000000003") for name in ("legs", "whole"))
    assert legs.scalars["data"] == whole.scalars["data"] == {"samples": 12}
    assert legs.scalars["counters"]["samples"] == 12
    for name, tensor in whole.tensors["model"].items():
        if tensor.is_floating_point():
            torch.testing.assert_close(legs.tensors["model"][name], tensor, rtol=1e-3, atol=3e-4, msg=name)


def test_gradients_travel_in_messages_of_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order; one that is too large goes alone."""
    monkeypatch.setattr(distributed, "_MESSAGE", 10)
    tensors = [torch.zeros(size) for size in (4, 5, 3, 20, 1, 9)]
    found = [[len(tensor) for tensor in bucket] for bucket in distributed._buckets(tensors)]
    assert found == [[4, 5], [3], [20], [1, 9]]
    assert list(distributed._buckets([])) == []


def test_the_stream_of_pairs_does_not_depend_on_the_split() -> None:
    whole = RandomPairs().next_batch(4)
    parts = [RandomPairs(rank=rank, world_size=2).next_batch(2) for rank in (0, 1)]
    assert torch.equal(whole.driving, torch.cat([part.driving for part in parts]))


def test_devices_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match="choose one of auto, cuda, cpu"):
        make_fabric(ExecutionConfig(), "tpu")
    with pytest.raises(ConfigError, match="needs GPUs"):
        make_fabric(ExecutionConfig(sync_batch_norm=True), "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="--device cpu"):
            make_fabric(ExecutionConfig(), "cuda")
