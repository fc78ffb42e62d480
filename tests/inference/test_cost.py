"""Counted arithmetic against the published table (spec F)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from synhead.app.models import untrained
from synhead.inference.cost import _counter, _gmac, count_parameters, measure_cost


def test_published_configuration_costs_what_the_paper_model_costs() -> None:
    model = untrained("paper")
    cost = measure_cost(model)
    assert cost.encoder == pytest.approx(29.7, rel=0.01)
    assert cost.driving_frame == pytest.approx(154.6, rel=0.01)
    assert cost.encoder < cost.source < cost.encoder + 2.5  # and the keypoint detector, 1.45, and the codes' keys
    assert sum(count_parameters(model).values()) == 30_118_854 + 52_054_701


@pytest.mark.parametrize("mask", [None, torch.ones(2, 1, 1, 50, dtype=torch.bool)], ids=["open", "masked"])
def test_attention_is_counted_on_the_cpu(mask: torch.Tensor | None) -> None:
    query, key = torch.zeros(2, 4, 30, 8), torch.zeros(2, 4, 50, 8)
    with torch.no_grad(), _counter() as counter:
        F.scaled_dot_product_attention(query, key, key, attn_mask=mask)
    assert _gmac(counter) * 1e9 == pytest.approx(2 * 4 * 30 * 50 * 8 * 2)


def test_measuring_leaves_the_mode_as_it_was() -> None:
    model = untrained("tiny").train()
    cost = measure_cost(model)
    assert model.training
    assert cost.driving_frame > 0
