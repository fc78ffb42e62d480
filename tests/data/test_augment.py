import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synhead.config import ConfigError
from synhead.data.augment import augment, colour_matrices, crop_matrices, plan_augmentation, to_image
from synhead.data.config import ColourJitter, CropJitter, DataConfig
from synhead.data.draws import uniforms
from synhead.data.pairs import BatchFormat, make_pairs

FULL = DataConfig(colour=ColourJitter(probability=1.0), crop=CropJitter(probability=1.0, rotation_deg=8.0))


def frames_of(count: int, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.manual_seed(0))


def rows(count: int, seed: int = 0) -> np.ndarray:
    return uniforms(seed, np.arange(count, dtype=np.uint64))


def test_range_of_images():
    image = to_image(torch.tensor([0, 127, 255], dtype=torch.uint8).expand(1, 2, 2, 3))
    assert image.shape == (1, 3, 2, 2)
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([-1.0, 127 / 127.5 - 1, 1.0]))


def test_only_what_is_asked_for():
    frames, flip = frames_of(4), torch.tensor([False, True, False, True])
    result = augment(frames, flip, None, None)
    torch.testing.assert_close(result[::2], to_image(frames)[::2], rtol=0, atol=0)
    torch.testing.assert_close(result[1::2], to_image(frames)[1::2].flip(3), rtol=0, atol=0)


def test_both_frames_of_a_pair_are_treated_alike():
    frames = frames_of(8)
    pair = make_pairs(torch.cat([frames, frames]), plan_augmentation(rows(8), FULL), BatchFormat())
    torch.testing.assert_close(pair.source, pair.driving, rtol=0, atol=0)
    assert pair.source.min() >= -1
    assert pair.source.max() <= 1
    assert (pair.source - to_image(frames)).abs().mean((1, 2, 3)).min() > 0.02


def test_the_frames_of_the_store_stay_as_they_are():
    frames = frames_of(4)
    before = frames.clone()
    make_pairs(frames, plan_augmentation(rows(2), FULL), BatchFormat())
    assert torch.equal(frames, before)


def test_no_jitter_is_the_identity():
    still = ColourJitter(probability=1.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    np.testing.assert_allclose(colour_matrices(rows(5), still), np.tile(np.eye(3, 4), (5, 1, 1)), atol=1e-6)
    window = crop_matrices(rows(5), CropJitter(probability=1.0, min_scale=1.0))
    np.testing.assert_allclose(window, np.tile(np.eye(2, 3), (5, 1, 1)), atol=1e-6)
    frames = frames_of(5)
    result = augment(frames, torch.zeros(5, dtype=torch.bool), None, torch.from_numpy(window))
    torch.testing.assert_close(result, to_image(frames), atol=1e-5, rtol=0)


def test_probability_is_the_share_of_changed_pairs():
    u = rows(4000)
    changed = (crop_matrices(u, CropJitter(probability=0.3)) != np.eye(2, 3)).any((1, 2)).mean()
    assert changed == pytest.approx(0.3, abs=0.03)
    coloured = (np.abs(colour_matrices(u, ColourJitter(probability=0.3)) - np.eye(3, 4)) > 1e-5).any((1, 2)).mean()
    assert coloured == pytest.approx(0.3, abs=0.03)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_grey_stays_grey(seed: int):
    matrices = colour_matrices(rows(16, seed), ColourJitter(probability=1.0, hue=0.3))
    grey = np.einsum("bij,j->bi", matrices, np.array([0.3, 0.3, 0.3, 1.0]))
    np.testing.assert_allclose(grey, np.repeat(grey[:, :1], 3, axis=1), atol=1e-5)


def test_brightness_multiplies_light():
    only = ColourJitter(probability=1.0, brightness=0.5, contrast=0.0, saturation=0.0, hue=0.0)
    matrix = colour_matrices(rows(1), only)[0]
    factor = matrix[0, 0]
    colour = np.array([-0.2, 0.1, -0.6])
    np.testing.assert_allclose(matrix[:, :3] @ colour + matrix[:, 3], factor * (colour + 1) - 1, atol=1e-5)


def test_no_saturation_is_luma():
    grey = ColourJitter(probability=1.0, brightness=0.0, contrast=0.0, saturation=0.99, hue=0.0)
    u = rows(2000)
    matrices = colour_matrices(u, grey)
    most_grey = matrices[np.argmin(np.abs(matrices[:, 0, 1] - 0.587))]
    np.testing.assert_allclose(most_grey[:, :3], np.tile([0.299, 0.587, 0.114], (3, 1)), atol=0.02)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), scale=st.floats(0.3, 1.0), shift=st.floats(0.0, 1.0))
def test_the_window_stays_inside_the_image(seed: int, scale: float, shift: float):
    window = crop_matrices(rows(16, seed), CropJitter(probability=1.0, min_scale=scale, shift=shift))
    corners = np.einsum("bij,jc->bic", window, np.array([[-1, 1, -1, 1], [-1, -1, 1, 1], [1, 1, 1, 1]]))
    assert np.abs(corners).max() <= 1 + 1e-6
    assert (window[:, 0, 0] >= scale - 1e-6).all()


def test_autocast_does_not_coarsen_images():
    frames, plan = frames_of(4), plan_augmentation(rows(2), FULL)
    plain = make_pairs(frames, plan, BatchFormat())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = make_pairs(frames, plan, BatchFormat())
    torch.testing.assert_close(plain.source, cast.source, rtol=0, atol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 100},
        {"flip_probability": 1.5},
        {"min_distance": 5, "max_distance": 2},
        {"person_temperature": -1.0},
        {"stream_workers": -1},
    ],
)
def test_impossible_configurations_are_refused(wrong: dict[str, float]):
    with pytest.raises(ConfigError, match=next(iter(wrong)) if len(wrong) == 1 else "max_distance"):
        DataConfig(**wrong)
    with pytest.raises(ConfigError):
        CropJitter(min_scale=0.0)
    with pytest.raises(ConfigError):
        ColourJitter(hue=0.7)
