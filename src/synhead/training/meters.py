"""Means of loss terms, codebook use and speed over a window, accumulated on the device and read once a window."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor

from synhead.config import ModelConfig
from synhead.training.codes import CodeMeter
from synhead.training.distributed import sum_over_processes
from synhead.training.step import DiscriminatorResult, GeneratorResult


class Meters:
    """One window of figures."""

    def __init__(self, fabric: Fabric, model: ModelConfig) -> None:
        self._fabric = fabric
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        self._codes = code_meters(model, fabric.device)
        self._samples = 0
        self._since = time.perf_counter()

    def update(self, generated: Sequence[GeneratorResult], judged: Sequence[DiscriminatorResult]) -> None:
        """Add the passes of one iteration; no synchronisation."""
        for terms in (*(each.terms for each in generated), *(each.terms for each in judged)):
            self._add(terms)
        for result in generated:
            self._samples += result.image.shape[0] * self._fabric.world_size
            for name, indices in code_indices(result).items():
                if name in self._codes:
                    self._codes[name].update(indices)

    def read(self) -> dict[str, float]:
        """Figures by name, means over the window and all processes; then a new window. All processes must call."""
        names = sorted(self._sums)
        values = torch.stack([self._sums[name] / self._counts[name] for name in names]) if names else torch.zeros(0)
        means = sum_over_processes(self._fabric, values) / self._fabric.world_size
        figures = {f"loss/{name}": value for name, value in zip(names, means.tolist(), strict=True)}
        for name, meter in self._codes.items():
            counts = sum_over_processes(self._fabric, meter.counts)
            if bool(counts.any()):  # of a codebook whose weight is 0 nothing is known
                figures |= _code_figures(name, meter, counts)
        elapsed = time.perf_counter() - self._since
        figures["speed/samples_per_second"] = self._samples / elapsed
        if self._fabric.device.type == "cuda":
            figures["speed/peak_memory_gib"] = torch.cuda.max_memory_allocated(self._fabric.device) / 2**30
        self.restart()
        return figures

    def restart(self) -> None:
        """Forget the window, so that what happened outside training is not counted as its time."""
        self._sums.clear()
        self._counts.clear()
        for meter in self._codes.values():
            meter.reset()
        self._samples = 0
        self._since = time.perf_counter()

    def exclude(self, seconds: float) -> None:
        """Time spent on other things (validation, checkpoints) does not count against the speed."""
        self._since += seconds

    def _add(self, terms: Mapping[str, Tensor]) -> None:
        new = [name for name in terms if name not in self._sums]
        self._sums |= {name: torch.zeros((), device=self._fabric.device) for name in new}
        torch._foreach_add_([self._sums[name] for name in terms], [value.float() for value in terms.values()])
        self._counts.update(terms.keys())


def code_meters(model: ModelConfig, device: torch.device) -> dict[str, CodeMeter]:
    """A meter for each codebook that the model has, by name."""
    configs = {"motion": model.motion, "appearance": model.appearance}
    return {name: CodeMeter(model, config, device) for name, config in configs.items() if config.scope != "none"}


def code_indices(result: GeneratorResult) -> dict[str, Sequence[Tensor]]:
    """Chosen codes by codebook and scale."""
    return {"motion": result.motion_codes, "appearance": result.appearance_codes}


def _code_figures(name: str, meter: CodeMeter, counts: Tensor) -> dict[str, float]:
    figures: dict[str, float] = {}
    for scale, use in meter.report(counts).items():
        figures[f"codes/{name}/{scale}/perplexity"] = use.perplexity
        figures[f"codes/{name}/{scale}/used"] = use.used
        figures[f"codes/{name}/{scale}/dead"] = float(use.dead)
    return figures
