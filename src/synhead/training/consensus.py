"""What all processes agree on while the device runs ahead: whether a loss was bad, and whether to stop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Verdict:
    """``first_bad``: the first iteration with a non-finite loss on any process. ``stop``: any process was asked to."""

    first_bad: int | None
    stop: bool


class Consensus:
    """Gathered on the device without waiting for it: :meth:`read` gives what was posted one call earlier.

    So a check costs no synchronisation, and every process acts on the same verdict in the same iteration.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._cuda = fabric.device.type == "cuda"
        # Kept as 1 / iteration, so that the maximum over processes is the first of them.
        self._first_bad = torch.zeros((), dtype=torch.float64, device=fabric.device)
        self._posted: tuple[Tensor, torch.cuda.Event | None] | None = None

    def watch(self, iteration: int, *losses: Float[Tensor, ""]) -> None:
        """Remember the first iteration with a NaN or infinite loss; no synchronisation. Iterations count from 1."""
        bad = ~torch.isfinite(torch.stack([loss.detach().float() for loss in losses])).all()
        first = self._first_bad
        self._first_bad = torch.where((first == 0) & bad, 1.0 / iteration, first)

    def read(self, *, stop: bool) -> Verdict:
        """Post this process's view; give the verdict on what was posted before. All processes must call."""
        before = self._posted
        self._posted = self._post(stop=stop)
        return Verdict(first_bad=None, stop=False) if before is None else _verdict(before)

    def settle(self, *, stop: bool) -> Verdict:
        """The verdict on this very moment; waits for the device. All processes must call."""
        return _verdict(self._post(stop=stop))

    def _post(self, *, stop: bool) -> tuple[Tensor, torch.cuda.Event | None]:
        view = torch.stack([self._first_bad, torch.full_like(self._first_bad, float(stop))])
        if self._fabric.world_size > 1:
            torch.distributed.all_reduce(view, op=torch.distributed.ReduceOp.MAX)
        if not self._cuda:
            return view, None
        host = torch.empty(view.shape, dtype=view.dtype, pin_memory=True).copy_(view, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host, event


def _verdict(posted: tuple[Tensor, torch.cuda.Event | None]) -> Verdict:
    view, event = posted
    if event is not None:
        event.synchronize()
    inverse, stop = view.tolist()
    return Verdict(first_bad=round(1.0 / inverse) if inverse else None, stop=bool(stop))
