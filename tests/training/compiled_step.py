"""Run by test_training_compiling.py in a process of its own, without the run-time checks of shapes: one step, plainly
and with its regions traced by TorchDynamo (run without Inductor), each of them as one graph.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from lightning_fabric import Fabric
from training_factory import LOSSES, TRAINING, RandomPairs, micro_model

from synhead.losses.objective import GeneratorObjective
from synhead.training.compiling import compile_regions
from synhead.training.randomness import warps_for
from synhead.training.state import TrainingState, build
from synhead.training.step import Micro, make_steps


def step(fabric: Fabric, state: TrainingState) -> torch.Tensor:
    """One generator step; its loss."""
    pair = RandomPairs().next_batch(2)
    steps = make_steps(fabric, state, GeneratorObjective(LOSSES, None), TRAINING)
    warp = warps_for(0, 1, slice(0, 2), 2, fabric.device)
    return steps.generator_step([Micro(pair.source, pair.driving, warp)], adversarial=False)[0].total


if __name__ == "__main__":
    torch.compile = partial(torch.compile, backend="eager", fullgraph=True)
    fabric = Fabric(accelerator="cpu", devices=1)
    plain = build(micro_model(), TRAINING, fabric.device)
    compiled = copy.deepcopy(plain)
    compile_regions(compiled, GeneratorObjective(LOSSES, None), "default")
    assert step(fabric, plain) == step(fabric, compiled)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 5
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    for ours, theirs in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
