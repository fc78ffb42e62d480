"""Processes, devices and precision: one Fabric from the environment that torchrun or Slurm sets."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from synhead.config import ConfigError
from synhead.training.config import ExecutionConfig, Precision

_FABRIC_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed"]] = {
    "fp32": "32-true",
    "tf32": "32-true",
    "bf16": "bf16-mixed",
}


def make_fabric(config: ExecutionConfig, device: str = "auto") -> Fabric:
    """The Fabric of this process, launched. ``device``: ``auto``, ``cuda`` or ``cpu``.

    Under torchrun there is one process a GPU (NCCL), or any number on the CPU (gloo). Raises ConfigError when the
    device is not there.
    """
    kind = _accelerator(device)
    if kind == "cpu" and config.sync_batch_norm:
        raise ConfigError("synchronised batch norm needs GPUs: leave it off on the CPU")
    set_matmul_precision(config.precision)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=kind,
        devices=local,
        num_nodes=max(1, world // local),
        strategy=_data_parallel(kind) if world > 1 else "auto",
        precision=_FABRIC_PRECISION[config.precision],
    )
    fabric.launch()
    return fabric


def set_matmul_precision(precision: Precision) -> None:
    """TF32 in ``tf32`` for all float32 arithmetic, in ``bf16`` for the convolutions that stay in float32, else nowhere.

    So in ``bf16`` coordinates and quantiser distances, which are matrix products, keep all of float32. cuDNN's own
    search for algorithms stays off: minutes at the start, no faster than its heuristics (88 to 90 samples/s, H100).
    """
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision != "fp32"


def _data_parallel(kind: str) -> DDPStrategy:
    """Buffers are not broadcast: batch-norm statistics are per process in training, and process 0's are saved."""
    return DDPStrategy(
        process_group_backend="nccl" if kind == "cuda" else "gloo",
        timeout=timedelta(minutes=15),
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        find_unused_parameters=False,
    )


def sum_over_processes(fabric: Fabric, tensor: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over all processes; the tensor itself with one."""
    if fabric.world_size == 1:
        return tensor
    total = fabric.all_reduce(tensor, reduce_op="sum")
    assert isinstance(total, torch.Tensor)
    return total


def _accelerator(device: str) -> str:
    if device not in ("auto", "cuda", "cpu"):
        raise ConfigError(f"unknown device {device!r}; choose one of auto, cuda, cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is available; use --device cpu, or install a CUDA build of torch")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
