from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from training_factory import TRAINING, micro_model

from synhead.training.codes import CodeMeter, split_dead_codes
from synhead.training.config import TrainingConfig
from synhead.training.restarts import CodeRestarts
from synhead.training.state import build
from synhead.training.step import GeneratorResult


def test_use_of_a_codebook_by_scale() -> None:
    model = micro_model()
    meter = CodeMeter(model, model.motion, torch.device("cpu"))
    coarse, fine = torch.tensor([[[0, 0], [1, 1]]]), torch.arange(8).reshape(1, 2, 4)
    meter.update((coarse, fine))
    report = meter.report(meter.counts)
    assert report[24].perplexity == pytest.approx(2.0)
    assert (report[24].used, report[24].dead) == (0.5, 2)
    assert report[48].perplexity == pytest.approx(8.0)
    assert report[48].dead == 0
    meter.reset()
    assert meter.report(meter.counts)[48].dead == 8


def test_split_codes_count_from_their_own_first_row() -> None:
    model = replace(micro_model(), motion=replace(micro_model().motion, allocation="split"))
    meter = CodeMeter(model, model.motion, torch.device("cpu"))
    meter.update((torch.zeros(1, 2, 2, dtype=torch.long), torch.zeros(1, 2, 2, dtype=torch.long)))
    assert meter.counts.nonzero().tolist() == [[0, 0], [1, 4]]


def test_dead_codes_move_next_to_used_ones() -> None:
    codes = torch.randn(6, 4)
    before = codes.clone()
    counts = torch.tensor([[5.0, 0, 0, 0, 0, 0], [0, 0, 3, 0, 0, 0]])
    moved = split_dead_codes(codes, counts, torch.Generator().manual_seed(0), noise=1e-3)
    assert moved.tolist() == [1, 3, 4, 5]
    assert torch.equal(codes[[0, 2]], before[[0, 2]])
    nearest = torch.cdist(codes[moved], before[[0, 2]]).min(dim=1).values
    assert (nearest < 0.05).all()
    assert len(split_dead_codes(codes, torch.zeros_like(counts), torch.Generator())) == 0


def result_of(motion: tuple[torch.Tensor, ...], appearance: tuple[torch.Tensor, ...]) -> GeneratorResult:
    return GeneratorResult(torch.zeros(()), {}, torch.zeros(1, 3, 2, 2), motion, appearance)


def test_restarts_are_off_by_default_and_forget_moments(fabric: Fabric) -> None:
    indices = (torch.zeros(1, 2, 2, dtype=torch.long),) * 2
    for dead_codes, expected in (("keep", 0), ("split", 14)):
        config: TrainingConfig = replace(TRAINING, dead_codes=dead_codes, restart_every=2)
        state = build(micro_model(), config, fabric.device)
        codes = state.model.motion_compensation.codebook.weight
        moments = {"exp_avg": torch.ones_like(codes), "exp_avg_sq": torch.ones_like(codes)}
        state.generator_optimizer.state[codes] = moments
        restarts = CodeRestarts(fabric, state, config)
        assert restarts.update(1, [result_of(indices, indices)]) == 0
        assert restarts.update(2, [result_of(indices, indices)]) == expected
        assert (moments["exp_avg"].sum(dim=1) == 0).tolist() == [False, *[dead_codes == "split"] * 7]
