"""Processes, devices and precision: one Fabric from the environment that torchrun or Slurm sets."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn

from synhead.config import ConfigError
from synhead.training.config import ExecutionConfig, Precision

_MESSAGE = 1 << 24
"""Elements that are averaged over processes at once."""


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
        plugins=[MixedOperations("cuda" if kind == "cuda" else "cpu")] if config.precision == "bf16" else None,
    )
    fabric.launch()
    return fabric


def leave_group(fabric: Fabric) -> None:
    """Wait for the other processes and end the group, once whatever held the networks is out of scope.

    A network under data parallelism that outlives the group is the group's last owner. Its end then waits, with the
    interpreter's lock held, for gloo's thread, which at times waits for that lock: the process would never end.
    """
    gc.collect()
    fabric.barrier()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


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


def average_over_processes(fabric: Fabric, tensors: Sequence[torch.Tensor]) -> None:
    """Mean of each tensor over all processes, in place, some 64 MiB a message; nothing with one process."""
    if fabric.world_size == 1:
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        torch.distributed.all_reduce(flat)
        parts = flat.div_(fabric.world_size).split([tensor.numel() for tensor in bucket])
        torch._foreach_copy_(list(bucket), [p.view(tensor.shape) for p, tensor in zip(parts, bucket, strict=True)])


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[Sequence[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    filled = 0
    for tensor in tensors:
        if bucket and filled + tensor.numel() > _MESSAGE:
            yield bucket
            bucket, filled = [], 0
        bucket.append(tensor)
        filled += tensor.numel()
    if bucket:
        yield bucket


class MixedOperations(MixedPrecision):
    """Autocast to bf16 inside passes, whose inputs stay as they are.

    Lightning's own rounds inputs too, and with them the grid on which the random warp samples the driving frame, by up
    to a quarter of a pixel: equivariance is then asked for what the warped frame does not quite show.
    """

    def __init__(self, device: str) -> None:
        super().__init__("bf16-mixed", device)

    def convert_input(self, data: object) -> object:
        """The same."""
        return data


class InPrecision(nn.Module):
    """A module under the run's autocast and nothing else: no data parallelism, whose hooks cannot be recorded."""

    def __init__(self, inner: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.inner = inner
        self._fabric = fabric

    def forward(self, *given: object) -> object:
        """What the inner module returns."""
        with self._fabric.autocast():
            return self.inner(*given)


def _accelerator(device: str) -> str:
    if device not in ("auto", "cuda", "cpu"):
        raise ConfigError(f"unknown device {device!r}; choose one of auto, cuda, cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is available; use --device cpu, or install a CUDA build of torch")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
