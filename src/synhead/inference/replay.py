"""Functions of tensors as CUDA graphs: captured once a shape, replayed with one launch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

_WARM_UP = 2  # kernels are compiled and chosen before anything is recorded

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(slots=True)
class _Recording:
    """``given``: the constants that the inputs were last filled from; who hands over the same ones pays for no copy."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    given: list[Tensor | None]


class Replayed:
    """``function`` on the current GPU, without the processor's launches: a thousand small kernels cost it 40 ms.

    Its arguments are tensors on the GPU, the first ``batched`` of them with one row a frame, as its results have; the
    values of the others nobody changes afterwards. It must not wait for the GPU. Batches are filled up to sizes that
    were recorded, with their last row. Recordings share one memory pool, so that only one runs at a time; results are
    copies.
    """

    def __init__(self, function: Function, *, batched: int) -> None:
        self._function, self._batched = function, batched
        self._recordings: dict[tuple[object, ...], _Recording] = {}
        self._sizes: set[int] = set()
        self._pool = torch.cuda.graph_pool_handle()
        self._lock = Lock()

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What the function returns for these."""
        count = len(tensors[0])
        with self._lock, torch.inference_mode():  # inputs are recorded in this mode, and filled in no other
            size = batch_to_run(count, self._sizes)
            filled = tuple(fill_up(tensor, size) for tensor in tensors[: self._batched]) + tensors[self._batched :]
            recording = self._recording(filled)
            self._sizes.add(size)
            for i, tensor in enumerate(filled):
                if i < self._batched or recording.given[i] is not tensor:
                    recording.inputs[i].copy_(tensor, non_blocking=True)
                    recording.given[i] = tensor if i >= self._batched else None
            recording.graph.replay()
            return tuple(output[:count].clone() for output in recording.outputs)

    def _recording(self, tensors: Sequence[Tensor]) -> _Recording:
        key = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if key not in self._recordings:
            self._recordings[key] = self._record(tensors)
        return self._recordings[key]

    def _record(self, tensors: Sequence[Tensor]) -> _Recording:
        inputs = tuple(tensor.clone() for tensor in tensors)  # keeps the layout
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._function(*inputs)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the GPU (decoding, another model), which the default mode takes for an error.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = self._function(*inputs)
        return _Recording(graph=graph, inputs=inputs, outputs=outputs, given=[None] * len(inputs))


def batch_to_run(count: int, known: Collection[int]) -> int:
    """How many frames to run for ``count``: a size that was recorded, if less than half of it would be idle.

    New sizes are powers of two unless they are the largest so far, so that a stream of all sizes records few graphs.
    """
    fitting = [size for size in known if count <= size < 2 * count]
    if fitting:
        return min(fitting)
    if count > max(known, default=0):
        return count
    return 1 << (count - 1).bit_length()


def fill_up(tensor: Tensor, count: int) -> Tensor:
    """Repeats the last row up to ``count`` rows."""
    missing = count - len(tensor)
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor
