import hashlib
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from synhead.config import ConfigError
from synhead.losses.config import LossConfig, LossWeights
from synhead.losses.feature_weights import build_extractor, load_trunk, load_vgg19, save_trunk
from synhead.losses.features import VGG19, FeatureExtractor, PerceptualWeightsError, TrunkConfig, random_trunk
from synhead.losses.perceptual import PerceptualLoss, build_perceptual
from synhead.nn import conv

SMALL = TrunkConfig(widths=(4, 8), depths=(2, 1))
VGG19_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)


@pytest.fixture(scope="module")
def vgg():
    return random_trunk()


def images(size: int = 32, seed: int = 0, batch: int = 2) -> torch.Tensor:
    return 2 * torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(seed)) - 1


def small_state() -> dict[str, torch.Tensor]:
    return random_trunk(SMALL).state_dict()


def test_vgg19_has_torchvisions_layout(vgg):
    names = {f"features.{n}.{kind}" for n in VGG19_CONVOLUTIONS for kind in ("weight", "bias")}
    assert set(vgg.state_dict()) == names
    assert vgg.taps == (1, 6, 11, 20, 29)
    assert [tuple(f.shape[1:]) for f in vgg(images(batch=1))] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]
    assert isinstance(vgg, FeatureExtractor)


def test_features_are_the_first_relu_of_each_stage_on_normalised_input():
    trunk, image = random_trunk(SMALL), images()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    state = trunk.state_dict()
    first = F.conv2d((image - mean) / std, state["features.0.weight"], state["features.0.bias"], padding=1).relu()
    second = F.conv2d(first, state["features.2.weight"], state["features.2.bias"], padding=1).relu()
    pooled = F.max_pool2d(second, 2)
    third = F.conv2d(pooled, state["features.5.weight"], state["features.5.bias"], padding=1).relu()
    for ours, expected in zip(trunk(image), (first, third), strict=True):
        torch.testing.assert_close(ours, expected)


def test_extractor_is_frozen_even_if_trained_along():
    trunk = random_trunk(SMALL).train()
    assert not trunk.training
    assert not any(parameter.requires_grad for parameter in trunk.parameters())


def test_a_trunk_in_training_has_gradients_where_kernels_would_serve_a_frozen_one(monkeypatch):
    monkeypatch.setattr(conv, "half_kernels", lambda x: x.dtype)
    trunk = random_trunk(SMALL).requires_grad_()
    trunk(images())[-1].sum().backward()
    assert all(parameter.grad is not None for parameter in trunk.parameters())


def test_weights_are_halved_once_within_a_block_and_afresh_after_it():
    layer = random_trunk(SMALL).features[0]
    with conv.halved_once():
        first = conv._halves(layer, images(), torch.bfloat16)[1:]
        again = conv._halves(layer, images(seed=1), torch.bfloat16)[1:]
        wider = conv._halves(layer, images().repeat(1, 2, 1, 1), torch.bfloat16)[1]
    assert all(a is b for a, b in zip(first, again, strict=True))
    assert wider.shape[1] == 6
    layer.weight.mul_(2)
    assert torch.equal(conv._halves(layer, images(), torch.bfloat16)[1], 2 * first[0])
    with conv.halved_once():
        assert torch.equal(conv._halves(layer, images(), torch.bfloat16)[1], 2 * first[0])


def test_random_vgg_is_determined_by_its_seed_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, second, other = random_trunk(SMALL, seed=3), random_trunk(SMALL, seed=3), random_trunk(SMALL, seed=4)
    assert torch.equal(before, torch.random.get_rng_state())
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(first.state_dict()["features.0.weight"], other.state_dict()["features.0.weight"])


def test_random_vgg_is_he_normal(vgg):
    weight = vgg.state_dict()["features.28.weight"]
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert vgg.state_dict()["features.28.bias"].abs().sum() == 0


def test_loss_is_the_plain_sum_of_means():
    loss = PerceptualLoss(random_trunk(SMALL))
    image, target = images(seed=1), images(seed=2)
    expected = torch.zeros(())
    for downscale in loss.downscales:
        pairs = zip(loss.extractor(downscale(image)), loss.extractor(downscale(target)), strict=True)
        expected = expected + sum(((ours - theirs).abs().mean() for ours, theirs in pairs), torch.zeros(()))
    torch.testing.assert_close(loss([image], target)[0], expected)


def test_images_share_a_batch_without_mixing():
    loss = PerceptualLoss(random_trunk(SMALL))
    first, second, target = images(seed=1).requires_grad_(), images(seed=2).requires_grad_(), images(seed=3)
    together = loss([first, second], target)
    alone = loss([first], target)[0], loss([second], target)[0]
    torch.testing.assert_close(torch.stack(together), torch.stack(alone))
    gradient, none = torch.autograd.grad(together[0], (first, second), materialize_grads=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(alone[0], first)[0])
    assert none.abs().sum() == 0


def test_target_has_no_gradient():
    image, target = images(seed=1), images(seed=2).requires_grad_()
    loss = PerceptualLoss(random_trunk(SMALL))([image.requires_grad_()], target)[0]
    assert torch.autograd.grad(loss, target, allow_unused=True) == (None,)


def test_scales_without_pixels_are_left_out(vgg):
    loss = PerceptualLoss(vgg)
    assert len(loss.levels(images(size=32, batch=1))) == 2  # 32 and 16 pixels of 32, 16, 8, 4
    assert len(PerceptualLoss(random_trunk(SMALL)).levels(images(size=32))) == 4


def test_pictures_without_any_scale_have_no_loss(vgg):
    assert PerceptualLoss(vgg)([images(size=8, batch=1)] * 2, images(size=8, batch=1)) == (0, 0)


def test_bfloat16_autocast_reduces_in_float32():
    loss = PerceptualLoss(random_trunk(SMALL))
    image, target = images(seed=1).requires_grad_(), images(seed=2)
    exact = loss([image], target)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss([image], target)[0]
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(exact.item(), rel=1e-2)
    gradients = [torch.autograd.grad(value, image)[0].flatten() for value in (exact, half)]
    assert F.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.98


def save_named_by_hash(state: dict[str, torch.Tensor], folder: Path) -> Path:
    torch.save(state, folder / "plain.pth")
    digest = hashlib.sha256((folder / "plain.pth").read_bytes()).hexdigest()
    return (folder / "plain.pth").rename(folder / f"vgg19-{digest[:8]}.pth")


def test_loads_torchvisions_file_and_ignores_the_classifier(vgg, tmp_path: Path):
    path = save_named_by_hash(vgg.state_dict() | {"classifier.0.weight": torch.zeros(2, 2)}, tmp_path)
    for name, tensor in load_vgg19(path).state_dict().items():
        assert torch.equal(tensor, vgg.state_dict()[name])


def test_loads_safetensors_found_through_the_variable(vgg, tmp_path: Path, monkeypatch):
    half = {name: tensor.half() for name, tensor in vgg.state_dict().items()}
    safetensors.torch.save_file(half, tmp_path / "vgg19.safetensors")
    monkeypatch.setenv("SYNHEAD_WEIGHTS", str(tmp_path))
    loaded = build_extractor("vgg19")
    assert loaded is not None
    assert loaded.state_dict()["features.0.weight"].dtype == torch.float32


def test_missing_file_names_file_hash_place_and_alternative(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SYNHEAD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(PerceptualWeightsError) as error:
        load_vgg19()
    for word in ("vgg19-dcbb9e9d.pth", "SHA-256", "SYNHEAD_WEIGHTS", "--vgg", "vgg19-random", str(tmp_path)):
        assert word in str(error.value)


def test_wrong_hash_is_refused(tmp_path: Path):
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save(small_state(), path)
    with pytest.raises(PerceptualWeightsError, match="damaged"):
        load_vgg19(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"lack features\.0\.weight, .* \.\.\."),
        ({"features.0.weight": 3}, "not a state dict"),
        (b"nonsense", "cannot read"),
    ],
)
def test_unusable_files_are_refused(content, message: str, tmp_path: Path):
    path = tmp_path / "vgg19.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(PerceptualWeightsError, match=message):
        load_vgg19(path)


def test_another_networks_shapes_are_refused(vgg, tmp_path: Path):
    torch.save(vgg.state_dict() | {"features.5.weight": torch.zeros(1, 1, 3, 3)}, tmp_path / "vgg19.pth")
    with pytest.raises(PerceptualWeightsError, match=r"features\.5\.weight has shape \(1, 1, 3, 3\)"):
        load_vgg19(tmp_path / "vgg19.pth")


def test_local_trunk_round_trip(tmp_path: Path):
    trunk = random_trunk(SMALL, seed=9)
    save_trunk(trunk, tmp_path / "faces")
    loaded = build_extractor("local", weights=tmp_path / "faces")
    assert loaded is not None
    assert loaded.config == SMALL
    for ours, theirs in zip(loaded(images()), trunk(images()), strict=True):
        assert torch.equal(ours, theirs)


def test_local_trunk_errors(tmp_path: Path):
    with pytest.raises(PerceptualWeightsError, match="--vgg"):
        build_extractor("local")
    with pytest.raises(PerceptualWeightsError, match="save_trunk"):
        load_trunk(tmp_path)
    (tmp_path / "config.json").write_text('{"widths": [4], "depths": [3]}')
    with pytest.raises(PerceptualWeightsError, match="depth 1"):
        load_trunk(tmp_path)
    (tmp_path / "config.json").write_text('{"widths": [4], "depths": [1]}')
    with pytest.raises(PerceptualWeightsError, match=r"model\.safetensors"):
        load_trunk(tmp_path)


@pytest.mark.parametrize(
    "bad",
    [
        {"widths": (4,), "depths": (1, 1)},
        {"widths": (4,), "depths": (2,)},
        {"widths": (4,), "depths": (1,), "std": (1.0, 1.0, 0.0)},
    ],
)
def test_bad_trunks_are_refused(bad):
    with pytest.raises(ConfigError):
        TrunkConfig(**bad)


def test_build_perceptual_by_name():
    assert build_perceptual(LossConfig(perceptual="none")) is None
    assert build_perceptual(LossConfig(weights=LossWeights(perceptual=0.0))) is None
    built = build_perceptual(LossConfig(perceptual="vgg19-random", perceptual_seed=2))
    assert built is not None
    expected = random_trunk(VGG19, seed=2).state_dict()["features.0.weight"]
    assert torch.equal(built.state_dict()["extractor.features.0.weight"], expected)
