"""Restarts of dead codes, an option of ours that the published recipe lacks; off unless ``dead_codes`` is ``split``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_fabric import Fabric
from torch import Tensor, nn

from synhead.model.codebook import Codebook
from synhead.training.codes import split_dead_codes
from synhead.training.config import TrainingConfig
from synhead.training.distributed import sum_over_processes
from synhead.training.meters import code_indices, code_meters
from synhead.training.randomness import generator_for
from synhead.training.state import TrainingState
from synhead.training.step import GeneratorResult


class CodeRestarts:
    """Counts the codes chosen since the last restart and moves those that nobody chose."""

    def __init__(self, fabric: Fabric, state: TrainingState, config: TrainingConfig) -> None:
        self._fabric = fabric
        self._state = state
        self._config = config
        self._meters = code_meters(state.model.config, fabric.device) if config.dead_codes == "split" else {}

    def update(self, iteration: int, generated: Sequence[GeneratorResult]) -> int:
        """Count one iteration; every ``restart_every`` iterations, restart. Returns how many codes moved."""
        for result in generated:
            for name, indices in code_indices(result).items():
                if name in self._meters:
                    self._meters[name].update(indices)
        if not self._meters or iteration % self._config.restart_every:
            return 0
        return sum(self._restart(name, iteration) for name in self._meters)

    def tensors(self) -> dict[str, Tensor]:
        """Counts since the last restart, summed over processes; all must call. Part of a checkpoint."""
        return {name: sum_over_processes(self._fabric, meter.counts).clone() for name, meter in self._meters.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from the counts of a checkpoint (kept by process 0, so that their sum is right)."""
        for name, meter in self._meters.items():
            meter.reset()
            if name in tensors and self._fabric.global_rank == 0:
                meter.counts.copy_(tensors[name])

    def _restart(self, name: str, iteration: int) -> int:
        meter = self._meters[name]
        codes = self._codebook(name).weight
        generator = generator_for(self._config.seed, "codes", iteration)
        rows = split_dead_codes(codes.data, sum_over_processes(self._fabric, meter.counts), generator)
        if len(rows):
            self._forget_moments(codes, rows)
        meter.reset()
        return len(rows)

    def _codebook(self, name: str) -> Codebook:
        codebook = self._state.model.get_submodule(f"{name}_compensation.codebook")
        assert isinstance(codebook, Codebook)
        return codebook

    def _forget_moments(self, codes: nn.Parameter, rows: Tensor) -> None:
        moments = self._state.generator_optimizer.state.get(codes, {})
        for key in ("exp_avg", "exp_avg_sq"):
            if key in moments:
                moments[key][rows.to(codes.device)] = 0
