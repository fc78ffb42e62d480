from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from training_factory import TRAINING, make_run, micro_model, shorter

from synhead.config import preset
from synhead.model.discriminator import Discriminator
from synhead.model.talking_head import TalkingHead
from synhead.training.leg import _factor, _unfactor, export_leg, read_leg, restore_leg
from synhead.training.loop import train
from synhead.training.state import build
from synhead.weights.checkpoint import CheckpointError

MIB = 2**20


def test_a_leg_restarts_from_the_average(fabric: Fabric, tmp_path: Path) -> None:
    run = make_run(fabric, tmp_path / "run", shorter(TRAINING, 3))
    train(run)
    before = run.steps.state
    size = export_leg(before, tmp_path / "leg", data=run.pairs.state_dict(), shard_mib=0.25)
    assert size == sum(path.stat().st_size for path in (tmp_path / "leg").iterdir())
    saved = read_leg(tmp_path / "leg")
    state = build(micro_model(), TRAINING, fabric.device)
    restore_leg(state, saved)
    assert saved.scalars["data"] == {"samples": 6}
    assert (state.counters.iteration, state.counters.restarted_at) == (3, 3)
    average = before.ema.model.state_dict()
    for name, value in state.model.state_dict().items():
        torch.testing.assert_close(value, average[name], rtol=1e-3, atol=1e-6)
    for parameter, moments in state.generator_optimizer.state.items():
        assert moments["exp_avg_sq"].shape == parameter.shape
        assert moments["exp_avg_sq"].stride() == parameter.stride()
        assert float(moments["step"]) == 3
        assert not moments["exp_avg"].any()


def test_second_moments_of_rank_one_are_exact() -> None:
    moment = (torch.rand(4, 1) * torch.rand(1, 18)).reshape(4, 2, 3, 3)
    torch.testing.assert_close(_unfactor(_factor(moment), moment.shape), moment)
    assert torch.equal(_unfactor(_factor(torch.zeros(4, 3)), torch.Size([4, 3])), torch.zeros(4, 3))


def test_shards_keep_their_limit_and_missing_ones_are_named(fabric: Fabric, tmp_path: Path) -> None:
    state = build(micro_model(), TRAINING, fabric.device)
    export_leg(state, tmp_path, data={}, shard_mib=0.1)
    shards = sorted(tmp_path.glob("leg-*.safetensors"))
    assert len(shards) > 1
    assert all(path.stat().st_size <= 0.1 * MIB for path in shards)
    shards[0].unlink()
    with pytest.raises(CheckpointError, match="copy the others too"):
        read_leg(tmp_path)
    with pytest.raises(CheckpointError, match="larger than a shard"):
        export_leg(state, tmp_path, data={}, shard_mib=0.001)
    with pytest.raises(CheckpointError, match="no leg"):
        read_leg(tmp_path / "none")


def test_the_base_preset_fits_sixty_mebibytes() -> None:
    """Two bytes a parameter, and the vectors and factored moments beside them."""
    with torch.device("meta"):
        modules = TalkingHead(preset("base")), Discriminator()
    tensors = [tensor for module in modules for tensor in module.state_dict().values()]
    weights = sum(tensor.numel() * (2 if tensor.ndim > 1 else 4) for tensor in tensors)
    moments = sum(4 * (len(t) + t[0].numel()) if t.ndim > 1 else 4 * t.numel() for t in tensors)
    assert weights + moments + 400 * len(tensors) < 60 * MIB
