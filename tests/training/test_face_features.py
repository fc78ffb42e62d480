from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from synhead.config import ConfigError
from synhead.data.sampling import ClipTable
from synhead.data.store import FrameStore
from synhead.losses.config import LossConfig
from synhead.losses.feature_weights import save_trunk
from synhead.losses.features import TrunkConfig, random_trunk
from synhead.losses.perceptual import build_perceptual
from synhead.training.face_features import FeatureConfig, FeatureFigures, scale_features, train_features

TRUNK = TrunkConfig(widths=(8, 16, 16), depths=(2, 2, 1))
CONFIG = FeatureConfig(trunk=TRUNK, steps=60, people=3, frames=4, rate=3e-3)
CPU = torch.device("cpu")


def store_of(people: int, *, frames: int = 6, size: int = 32) -> FrameStore:
    """A person is a texture, a pose the place of a bright square on it."""
    pictures = np.zeros((people * frames, size, size, 3), dtype=np.uint8)
    for person in range(people):
        texture = np.random.default_rng(person).integers(0, 120, (8, 8, 3)).repeat(4, 0).repeat(4, 1)
        for pose in range(frames):
            picture = texture.copy()
            picture[4 * pose : 4 * pose + 8, 4 * (frames - pose) :][:, :8] = 250
            pictures[person * frames + pose] = picture
    names = tuple(f"p{i}" for i in range(people))
    table = ClipTable(names, names, np.arange(people), np.zeros(people, dtype=np.bool_))
    return FrameStore(torch.from_numpy(pictures), np.arange(people + 1, dtype=np.int64) * frames, table)


def test_it_learns_people_and_poses_and_the_perceptual_loss_takes_it(tmp_path: Path) -> None:
    seen: list[FeatureFigures] = []
    store = store_of(3)
    trunk = train_features(store, CONFIG, CPU, seen.append, every=20)
    assert [figures.step for figures in seen] == [20, 40, 60]
    assert seen[-1].person_accuracy > 0.8  # by chance 0.33
    assert seen[-1].frame_accuracy > 0.6  # by chance 0.25
    assert seen[-1].frame_loss < seen[0].frame_loss
    assert not any(parameter.requires_grad for parameter in trunk.parameters())

    save_trunk(trunk, tmp_path / "features")
    loss = build_perceptual(LossConfig(perceptual="local"), weights=tmp_path / "features")
    assert loss is not None
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    for ours, theirs in zip(loss.extractor(image), trunk(image), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_same_seed_gives_the_same_network() -> None:
    short = FeatureConfig(trunk=TRUNK, steps=3, people=2, frames=2)
    one, two = (train_features(store_of(2), short, CPU).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_scaled_features_are_the_same_ones_with_a_mean_of_one() -> None:
    sample = torch.rand(4, 3, 32, 32) * 2 - 1
    trunk = random_trunk(TRUNK)
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.01)  # biases too
    before = [features.clone() for features in trunk(sample)]
    for plain, scaled in zip(before, scale_features(trunk, sample)(sample), strict=True):
        assert float(scaled.mean()) == pytest.approx(1.0, rel=1e-4)
        torch.testing.assert_close(scaled, plain / plain.mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("people", "frames"), [(1, 6), (3, 2)])
def test_too_few_people_or_frames_are_refused(people: int, frames: int) -> None:
    with pytest.raises(ConfigError, match="at least two people and clips of at least 4 frames"):
        train_features(store_of(people, frames=frames), CONFIG, CPU)
