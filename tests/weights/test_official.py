"""Published checkpoints: every name both ways, bit-identical round trips, and files that are something else."""

from __future__ import annotations

import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from synhead.config import ablate, preset
from synhead.model.discriminator import Discriminator
from synhead.model.talking_head import TalkingHead
from synhead.weights import checkpoint, official
from synhead.weights.errors import CheckpointError


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The published form of a tiny model, as two .pth files."""
    torch.manual_seed(0)
    folder, model = tmp_path_factory.mktemp("published"), TalkingHead(preset("tiny"))
    generator, motion = (official.to_official(model, name) for name in ("generator", "motion_estimator"))
    files = SimpleNamespace(net_g=folder / "net_g.pth", net_motion=folder / "motion.pth", model=model)
    torch.save({"params_ema": {f"module.{k}": v for k, v in generator.items()}}, files.net_g)
    torch.save({"params": motion}, files.net_motion)
    return files


def read(files):
    return official.read_pth(files.net_g, ("params_ema", "params")), official.read_pth(files.net_motion, ("params",))


def test_names_of_the_paper_preset():
    config = preset("paper")
    generator, motion = (official.name_map(config, name) for name in ("generator", "motion_estimator"))
    assert (len(generator), len(motion)) == (472, 150)
    assert generator["encoder.blocks.11.proj_out.weight"] == "encoder.enter.1.out.weight"
    assert generator["generator.blocks.15.conv_out.bias"] == "decoder.before.2.shortcut.bias"
    assert generator["app_block.1.self_attn.in_proj_weight"] == (
        "appearance_compensation.transformer.layers.1.self_attention.in_proj.weight"
    )
    assert generator["to_context.3.bias"] == "motion_compensation.refiner.contexts.256.bias"
    with torch.device("meta"):
        names = set(TalkingHead(config).state_dict())
    assert {*generator.values(), *motion.values()} == names


def test_round_trip_is_bit_identical(published):
    generator, motion = read(published)
    model = official.from_official(generator, motion, preset("tiny"))
    for network, tensors in (("generator", generator), ("motion_estimator", motion)):
        back = official.to_official(model, network)
        assert list(back) == list(tensors)
        assert all(back[name].numpy().tobytes() == tensors[name].numpy().tobytes() for name in tensors)
        assert all(back[name].shape == tensors[name].shape for name in tensors)


def test_coarsest_projection_is_a_1x1_convolution_in_the_published_form(published):
    generator, _ = read(published)
    assert generator["app_feat_emb_8.weight"].shape == (16, 32, 1, 1)
    assert generator["to_app_feat_8.weight"].shape == (32, 16, 1, 1)


def test_export_and_read_again(published, tmp_path):
    folder = checkpoint.save(published.model, tmp_path / "tiny")
    official.export(folder, tmp_path / "g.pth", tmp_path / "m.pth")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.pth", "m.pth", "tiny"]
    assert official.read_pth(tmp_path / "m.pth", ("params",)).keys() == read(published)[1].keys()


def test_what_the_published_form_cannot_hold_is_named():
    assert official.lost(preset("paper")) == ()
    assert official.lost(replace(preset("paper"), lid_gain=1.5)) == ("lid_gain",)
    assert official.lost(preset("base")) == (
        "decoder.mask.weight",
        "decoder.mask.bias",
        "feature_widths",
        "keypoints.count",
        "keypoints.detail",
        "keypoints.hourglass.max_width",
        "coarse_motion.hourglass.width",
        "coarse_motion.hourglass.max_width",
        "motion.refine_width",
        "appearance.width",
        "appearance.heads",
        "blend",
    )


def test_missing_and_unexpected_names_are_named(published):
    generator, motion = read(published)
    generator["surprise"] = generator.pop("driving_kp_enc.bias")
    with pytest.raises(CheckpointError, match=r"missing driving_kp_enc\.bias; unexpected surprise"):
        official.from_official(generator, motion, preset("tiny"))


def test_values_that_are_no_numbers_are_named(published):
    """They would make black videos without a word."""
    generator, motion = read(published)
    generator["driving_kp_enc.bias"][0] = torch.inf
    with pytest.raises(CheckpointError, match=r"generator checkpoint holds NaN or infinity in driving_kp_enc\.bias"):
        official.from_official(generator, motion, preset("tiny"))


def test_swapped_files_are_noticed(published):
    generator, motion = read(published)
    with pytest.raises(CheckpointError, match="published generator checkpoint: missing"):
        official.from_official(motion, generator, preset("tiny"))


class Bomb:
    """Pickles to a call that would leave a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (type(self.mark).touch, (self.mark,))


def test_code_in_a_pickle_is_not_executed(tmp_path):
    mark = tmp_path / "executed"
    for path, write in (
        (tmp_path / "a.pth", torch.save),
        (tmp_path / "b.pth", lambda o, p: p.write_bytes(pickle.dumps(o))),
    ):
        write({"params": {"w": Bomb(mark)}}, path)
        with pytest.raises(CheckpointError, match="could execute code"):
            official.read_pth(path, ("params",))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "damaged|execute code"), (b"not a checkpoint", "damaged|execute code"), (None, "no file")],
)
def test_other_files(tmp_path, content, message):
    path = tmp_path / "x.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        official.read_pth(path, ("params",))
    assert "\n" not in str(caught.value)


def test_wrong_entries(tmp_path):
    torch.save({"optimizer": {}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="has no params"):
        official.read_pth(tmp_path / "x.pth", ("params",))
    torch.save([1, 2], tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        official.read_pth(tmp_path / "y.pth", ("params",))


def test_ablations_have_no_published_form():
    with pytest.raises(CheckpointError, match="only the full model"):
        official.name_map(ablate(preset("tiny"), "mmc"), "generator")


def test_discriminator_names_are_ours():
    state = Discriminator().state_dict()
    assert len(state) == 28
    assert sum(p.numel() for p in Discriminator().parameters()) == 6_960_961
