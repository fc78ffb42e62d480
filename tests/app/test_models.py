"""Which weights a command takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from synhead.app import models
from synhead.app.models import ModelChoice, choose, find_checkpoint, load, untrained
from synhead.config import ConfigError


@pytest.fixture(autouse=True)
def _nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNHEAD_CHECKPOINT", raising=False)
    monkeypatch.setattr(models, "BUNDLED", ())


def test_order_of_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint() is None
    assert choose(None, None) == ModelChoice(checkpoint=None, preset="base")
    monkeypatch.setattr(models, "BUNDLED", (tmp_path / "none", tmp_path))
    assert choose(None, None) == ModelChoice(checkpoint=str(tmp_path))
    monkeypatch.setenv("SYNHEAD_CHECKPOINT", "owner/name")
    assert choose(None, None) == ModelChoice(checkpoint="owner/name")
    assert choose("mine", None) == ModelChoice(checkpoint="mine")
    assert choose(None, "tiny") == ModelChoice(preset="tiny")
    with pytest.raises(ConfigError, match="exclude"):
        choose("mine", "tiny")


def test_untrained_weights_are_the_same_at_every_call() -> None:
    before = torch.random.get_rng_state()
    first, second = (untrained("tiny").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(before, torch.random.get_rng_state())


def test_untrained_weights_for_other_pictures() -> None:
    assert untrained("tiny").config.image_size == 64
    larger = untrained("tiny", size=128)
    assert larger.observe(torch.zeros(1, 3, 128, 128)).features.keys() == {16, 32, 64, 128}


def test_loading_tells_trained_from_untrained(tiny: Path) -> None:
    assert load(ModelChoice(checkpoint=str(tiny))).trained
    assert not load(ModelChoice(preset="tiny")).trained
