"""``dead_codes: split`` against a collapse made on purpose: features of eight kinds, and a codebook far from all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from training_factory import TRAINING, micro_model

from synhead.training.config import DeadCodes, OptimizerConfig
from synhead.training.meters import code_meters
from synhead.training.restarts import CodeRestarts
from synhead.training.state import build
from synhead.training.step import GeneratorResult

SCALES = micro_model().scales


def features(seed: int) -> torch.Tensor:
    """A batch whose tokens lie around eight centres, far from zero, where codes begin."""
    centres = 2 * torch.randn(8, 8, generator=torch.Generator().manual_seed(0)) + 3
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 8, (4, 6, 6), generator=generator)
    tokens = centres[kind] + 0.1 * torch.randn(4, 6, 6, 8, generator=generator)
    return tokens.permute(0, 3, 1, 2)


def perplexities(fabric: Fabric, dead_codes: DeadCodes, iterations: int = 300) -> dict[int, float]:
    """Of the last choices, by scale, after the codebook alone was trained on such features."""
    config = replace(TRAINING, dead_codes=dead_codes, restart_every=20, optimizer=OptimizerConfig(rate=0.05))
    state = build(micro_model(), config, fabric.device)
    codebook, restarts = state.model.motion_compensation.codebook, CodeRestarts(fabric, state, config)
    meter = code_meters(state.model.config, fabric.device)["motion"]
    for iteration in range(1, iterations + 1):
        quantized = [codebook.quantize(features(iteration), scale) for scale in SCALES]
        sum(each.loss for each in quantized).backward()
        state.generator_optimizer.step()
        state.generator_optimizer.zero_grad(set_to_none=True)
        indices = tuple(each.indices for each in quantized)
        # restarts stop before the end, so that what is measured is what training made of them
        if iteration < iterations - 40:
            restarts.update(
                iteration, [GeneratorResult(torch.zeros(()), {}, torch.zeros(1, 3, 2, 2), indices, indices)]
            )
        meter.reset()
        meter.update(indices)
    return {scale: use.perplexity for scale, use in meter.report(meter.counts).items()}


def test_a_collapsed_codebook_is_mended(fabric: Fabric) -> None:
    kept, mended = perplexities(fabric, "keep"), perplexities(fabric, "split")
    coarse, fine = SCALES
    assert kept[fine] < 3.2, "the collapse did not happen: the test shows nothing"
    assert mended[coarse] > 3
    assert mended[fine] > 5
    assert mended[fine] > 2 * kept[fine]
    assert mended == pytest.approx(perplexities(fabric, "split")), "restarts must be the same at every run"
