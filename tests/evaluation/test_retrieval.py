"""Whether codes are retrieved: the spread of attention against its definition, and what the picture owes to codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synhead.config import ModelConfig, ablate, preset
from synhead.evaluation.renderers import ModelRenderer
from synhead.evaluation.retrieval import describe_retrieval, equal_codes, measure_retrieval
from synhead.evaluation.trials import Trial
from synhead.model.talking_head import TalkingHead
from synhead.nn.attention import MultiHeadAttention


def trial(size: int = 64) -> Trial:
    frames = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    return Trial("a", frames[0], frames[1:], (1, 2))


def model_of(config: ModelConfig) -> TalkingHead:
    torch.manual_seed(0)
    return TalkingHead(config).eval()


def test_raw_codes_are_all_alike_to_attention_at_first_and_normalised_ones_are_not() -> None:
    """Perplexity of all codes, and a picture that owes them nothing, at the start of the published training."""
    plain = preset("tiny")
    normal = replace(
        plain,
        motion=replace(plain.motion, context="normalised"),
        appearance=replace(plain.appearance, context="normalised"),
    )
    raw, normalised = (measure_retrieval(model_of(config), [trial()]) for config in (plain, normal))
    assert [one.name for one in raw] == ["motion", "appearance"]
    for one, other in zip(raw, normalised, strict=True):
        assert set(one.spread) == set(other.spread)
        for codes, value in one.spread.items():
            assert value == pytest.approx(codes, rel=1e-3)
            assert other.spread[codes] < 0.99 * codes
        assert one.effect < other.effect
    assert "spreads over" in describe_retrieval(raw)[0]


def test_spread_is_the_perplexity_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ablate(preset("tiny"), "smc")
    model = model_of(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "cross_attention.in_proj.weight" in name or "codebook.weight" in name:
                parameter.copy_(torch.randn(parameter.shape))
    entropies = []
    plain = MultiHeadAttention.cross_attend

    def slow(self, tokens, position, key, value):
        query = torch.nn.functional.linear(
            tokens + position, *(p[: tokens.shape[-1]] for p in self.in_proj.parameters())
        )
        for head in range(self.heads):
            rows = slice(head * key.shape[2], (head + 1) * key.shape[2])
            logits = query[..., rows] @ key[head].T / key.shape[2] ** 0.5
            entropies.append(torch.distributions.Categorical(logits=logits).entropy().mean().item())
        return plain(self, tokens, position, key, value)

    (found,) = measure_retrieval(model, [trial()])
    monkeypatch.setattr(MultiHeadAttention, "cross_attend", slow)
    model_rendered = measure_retrieval(model, [])  # nothing is left behind by the first measurement
    assert model_rendered[0].spread == {}
    ModelRenderer(model)(trial().source, trial().driving)
    (value,) = found.spread.values()
    assert value == pytest.approx(np.exp(np.mean(entropies)), rel=1e-4)
    assert value < 0.9 * config.motion.codes


def test_equal_codes_are_all_their_mean_and_come_back() -> None:
    """For raw codes, whose projections are linear, the mean of keys and values is that of equal codes."""
    model = model_of(preset("tiny"))
    plain = model.appearance_compensation.memory()
    with equal_codes(model, "appearance"):
        levelled = model.appearance_compensation.memory()
    codes = model.get_submodule("appearance_compensation.codebook").weight
    torch.testing.assert_close(model.appearance_compensation.memory().values, plain.values, rtol=0, atol=0)
    codes.data.copy_(codes.mean(dim=0, keepdim=True).expand_as(codes))
    equal = model.appearance_compensation.memory()
    for found, wanted in zip(levelled.keys + levelled.values, equal.keys + equal.values, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_model_without_codebooks_has_nothing_to_retrieve() -> None:
    assert measure_retrieval(model_of(ablate(preset("tiny"), "baseline")), [trial()]) == ()
