"""Which engine runs a model: the one that the user names, else the fastest that can be had here."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from synhead.config import ConfigError
from synhead.inference.engine import EagerEngine, Engine, Precision
from synhead.model.talking_head import TalkingHead

if TYPE_CHECKING:
    from synhead.nn.native import Kernels

_log = logging.getLogger(__name__)

EngineName = Literal["eager", "prepared", "native", "compiled", "onnx"]

ENGINES: Mapping[EngineName, str] = {
    "eager": "the plain modules, one by one",
    "prepared": "codes and positions projected once, norms folded; CPUs without AMX: Winograd; GPUs: CUDA graphs, "
    "in bf16 fused kernels (fp32: equal up to rounding)",
    "native": "prepared, with C kernels for CPUs, compiled at first use and kept (fp32: equal up to rounding); "
    "auto takes it in fp32 on x86 CPUs with Linux and a C compiler, prepared elsewhere",
    "compiled": "prepared, through TorchInductor with static shapes; CUDA graphs on a GPU; slow first frame",
    "onnx": "a graph written by synhead export, run by onnxruntime on the CPU in fp32",
}
DEFAULT_ENGINE: EngineName = "prepared"
"""Runs everywhere, without a compiler."""
PRECISIONS: Mapping[Precision, str] = {
    "fp32": "float32 throughout, TF32 off",
    "bf16": "convolutions and products in bfloat16, coordinates in float32 (GPUs: TF32 in the keypoint detector): "
    "rounds, about 1/255 on average",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """``graph``: the file of the ``onnx`` engine. ``precision``: of convolutions and matrix products."""

    name: EngineName = DEFAULT_ENGINE
    precision: Precision = "fp32"
    graph: Path | None = None

    def __post_init__(self) -> None:
        engine_named(self.name)
        if (self.name == "onnx") != (self.graph is not None):
            raise ConfigError("the onnx engine, and no other, needs a graph: write one with synhead export")
        if self.name == "onnx" and self.precision != "fp32":
            raise ConfigError("the onnx engine runs in fp32; choose --precision fp32 or another engine")


def engine_named(name: str) -> EngineName:
    """The engine of that name. Raises ConfigError if there is none."""
    for known in ENGINES:
        if known == name:
            return known
    raise ConfigError(f"unknown engine {name!r}; choose one of {', '.join(ENGINES)}")


def engine_for(device: torch.device, precision: Precision) -> EngineName:
    """What ``auto`` takes: ``native`` in fp32 where it was measured and its kernels can be had, else ``prepared``.

    The first call may compile for some seconds.
    """
    if device.type != "cpu" or precision != "fp32" or not native_measured():
        return DEFAULT_ENGINE
    obstacle = native_obstacle()
    if obstacle is None:
        return "native"
    _log.info("engine prepared, not native: %s", obstacle)
    return DEFAULT_ENGINE


def native_obstacle() -> str | None:
    """What keeps ``auto`` from the native engine on this CPU, one line that names the remedy; None: nothing does.

    The first call may compile for some seconds.
    """
    from synhead.nn.native import VECTOR_FLOATS, shares_threads  # noqa: PLC0415 - the other engines do without

    try:
        kernels = _kernels(torch.device("cpu"))
    except ConfigError as error:
        return " ".join(str(error).split())
    except (OSError, RuntimeError) as error:  # no place to keep them, no home folder
        return f"its kernels cannot be kept ({error}); name a folder that can be written in SYNHEAD_CACHE"
    if kernels.lanes < VECTOR_FLOATS:
        return "this CPU has no AVX, without which native is not faster; use a machine that has it"
    if not shares_threads():
        return (
            "it would run on one thread: PyTorch's OpenMP here is not GNU's, whose threads it borrows; install a torch "
            "that brings GNU's, as the package index's wheels for Linux do"
        )
    return None


def native_measured() -> bool:
    """Whether the native engine was found the faster one on such machines: Linux on x86 (docs/speed.md)."""
    return (platform.system(), platform.machine()) == ("Linux", "x86_64")


def make_engine(model: TalkingHead, options: EngineOptions | None = None) -> Engine:
    """The chosen engine. Raises ConfigError where it cannot run."""
    options = options or EngineOptions()
    if options.name == "eager":
        return EagerEngine(model, precision=options.precision)
    if options.graph is not None:
        from synhead.inference.onnx_engine import OnnxEngine  # noqa: PLC0415 - needs the extra

        return OnnxEngine(model, options.graph)
    from synhead.inference.fast import FastEngine  # noqa: PLC0415 - the eager engine does without

    if options.name == "native":
        return FastEngine(model, precision=options.precision, kernels=_kernels(next(model.parameters()).device))
    return FastEngine(model, precision=options.precision, compiled=options.name == "compiled")


def _kernels(device: torch.device) -> Kernels:
    if device.type != "cpu":
        raise ConfigError("the native engine runs on the CPU; choose --device cpu or another engine")
    from synhead.faces.task_file import cache_folder  # noqa: PLC0415 - the other engines do without
    from synhead.nn.native import load_kernels  # noqa: PLC0415

    return load_kernels(cache_folder())
