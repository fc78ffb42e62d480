"""Forward and backward passes as CUDA graphs: run by themselves a few times, recorded once, then replayed.

A step is five thousand kernels, whose launches take the processor 400 ms however small the batch is (docs/training.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from synhead.config import ConfigError
from synhead.geometry.triton_there import takes_kernels
from synhead.training.config import ExecutionConfig

_log = logging.getLogger(__name__)
_WARM_UP = 3
"""Passes that run by themselves first: kernels are compiled, algorithms and workspaces chosen."""

T = TypeVar("T")


@runtime_checkable
class Recorder(Protocol):
    """What a device needs to record work."""

    def warm_up(self, work: Callable[[], T]) -> T:
        """Do the work now, as it will be recorded."""

    def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Note what the work does without doing it: its results' places, and what fills them when called."""


class CudaRecorder:
    """CUDA graphs, recorded on the stream on which the work was warmed up."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], T]) -> T:
        """Do the work on the side stream, in its turn."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            done = work()
        current.wait_stream(self._stream)
        return done

    def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Capture; other threads may go on using the GPU meanwhile. Raises RuntimeError where work waits for it."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            results = work()
        return results, graph.replay


def cuda_recorder(device: torch.device) -> CudaRecorder:
    """Raises ConfigError for what is no GPU."""
    if device.type != "cuda":
        raise ConfigError("training.execution.cuda_graphs needs a GPU: set it to false")
    return CudaRecorder(device)


def graphs_wanted(execution: ExecutionConfig, device: torch.device, processes: int) -> bool:
    """What the configuration says; if it leaves it open, whether this is where benchmarks/replays.py saw replays equal
    computed steps: one GPU, bf16 on Triton's kernels, nothing compiled.
    """
    if execution.cuda_graphs is not None:
        return execution.cuda_graphs
    plain = execution.precision == "bf16" and execution.compile == "off" and not execution.sync_batch_norm
    return plain and processes == 1 and takes_kernels(device)


def _keep(gradients: Sequence[Tensor]) -> None:
    """One process has nobody to share with."""


@dataclass(slots=True)
class _Recording(Generic[T]):
    """What a replay reads and writes, always in the same places."""

    inputs: tuple[Tensor, ...]
    results: T
    gradients: tuple[tuple[nn.Parameter, Tensor], ...]
    replay: Callable[[], None]


class RecordedPass(Generic[T]):
    """Work that reads tensors and leaves gradients in ``parameters``, whose own are None when it begins.

    What it returns, and the gradients, are overwritten by the next call. One recording is kept at a time: it holds the
    memory of a whole pass. ``share``: what is done to the gradients afterwards, in place, such as their mean over
    processes, which a recording cannot wait for. ``forgiving``: work that cannot be recorded is done as it is from then
    on, with a warning; so is what finds too little memory while it is recorded.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        recorder: Recorder,
        share: Callable[[Sequence[Tensor]], None] = _keep,
        *,
        forgiving: bool = False,
    ) -> None:
        self._parameters = tuple(parameters)
        self._recorder = recorder
        self._share = share
        self._forgiving = forgiving
        self._refused = False
        self._form: Hashable = None
        self._warm = 0
        self._recording: _Recording[T] | None = None

    def __call__(self, form: Hashable, work: Callable[[Sequence[Tensor]], T], inputs: Sequence[Tensor]) -> T:
        """``work(inputs)``. All else that it depends on, and the inputs' shapes and layouts, are equal in calls of
        equal ``form``. Raises ConfigError, unless forgiving, where work cannot be recorded, for it waits for the GPU.
        """
        if form != self._form:
            self._form, self._warm, self._recording = form, 0, None
        if self._recording is None and self._warm >= _WARM_UP and not self._refused:
            self._recording = self._tried(work, inputs)
        recording = self._recording
        if recording is None:
            self._warm += 1
            results = self._recorder.warm_up(lambda: work(inputs))
            self._share([each.grad for each in self._parameters if each.grad is not None])
            return results
        torch._foreach_copy_(list(recording.inputs), list(inputs), non_blocking=True)
        recording.replay()
        for parameter, gradient in recording.gradients:
            parameter.grad = gradient
        self._share([gradient for _, gradient in recording.gradients])
        return recording.results

    def _tried(self, work: Callable[[Sequence[Tensor]], T], inputs: Sequence[Tensor]) -> _Recording[T] | None:
        try:
            return self._record(work, inputs)
        except (ConfigError, torch.OutOfMemoryError) as error:
            if not self._forgiving:
                raise
            _log.warning("%s; going on without recording", str(error).partition("\n")[0])
        self._refused = True
        for parameter in self._parameters:  # what the attempt may have left
            parameter.grad = None
        return None

    def _record(self, work: Callable[[Sequence[Tensor]], T], inputs: Sequence[Tensor]) -> _Recording[T]:
        places = tuple(torch.empty_like(tensor) for tensor in inputs)
        try:
            results, replay = self._recorder.record(lambda: work(places))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"this pass cannot be recorded ({reason}): train without --cuda-graphs") from error
        gradients = tuple((each, each.grad) for each in self._parameters if each.grad is not None)
        return _Recording(inputs=places, results=results, gradients=gradients, replay=replay)
