"""Shapes at every scale, broadcasting of one source, parameter counts, and gradients of every preset and ablation."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from synhead.config import AblationName, ModelConfig, ablate, preset
from synhead.geometry.tps import draw
from synhead.geometry.warp import warp
from synhead.inference.cost import measure_cost
from synhead.losses.config import LossConfig
from synhead.losses.objective import GeneratorObjective
from synhead.model.discriminator import Discriminator
from synhead.model.talking_head import TalkingHead

ABLATIONS = get_args(AblationName)


def meta_model(config):
    with torch.device("meta"):
        return TalkingHead(config).eval()


def test_published_parameter_counts():
    model = meta_model(preset("paper"))
    assert sum(p.numel() for p in model.generator_parameters()) == 30_118_854
    assert sum(p.numel() for p in model.motion_estimator_parameters()) == 52_054_701


def test_base_is_within_its_budget():
    model = meta_model(preset("base"))
    assert sum(p.numel() for p in model.parameters()) <= 20e6
    assert measure_cost(model).driving_frame <= 40


def test_lite_is_within_its_budget_at_full_size():
    config = preset("lite")
    assert measure_cost(meta_model(config)).driving_frame <= 5
    assert (config.image_size, config.flow_size, len(config.scales)) == (256, 64, 4)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_shapes_at_every_scale(ablation):
    config = ablate(preset("tiny"), ablation)
    model, images = TalkingHead(config).eval(), torch.rand(3, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        animation = model.animate(model.observe(images[:1]), model.keypoint_detector(images))
    assert animation.image.shape == (3, 3, 64, 64)
    assert [trace.scale for trace in animation.traces] == [8, 16, 32, 64]
    for trace in animation.traces:
        shape = (3, config.width(trace.scale), trace.scale, trace.scale)
        assert trace.warped.shape == trace.compensated.shape == shape
        assert trace.motion.grid.shape == (3, 16, 16, 2)
        assert float(trace.motion.visibility.min()) >= 0 <= float(trace.motion.visibility.max()) <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 128, "feature_widths": (32, 16, 16, 8)},
        {"feature_widths": (32, 16, 8)},
        {"feature_widths": (16,)},
    ],
)
def test_other_sizes_and_numbers_of_scales(change):
    config = replace(preset("tiny"), **change)
    model, image = TalkingHead(config).eval(), torch.rand(1, 3, config.image_size, config.image_size)
    with torch.no_grad():
        animation = model.animate(model.observe(image), model.keypoint_detector(image))
    assert animation.image.shape == image.shape
    assert len(animation.traces) == len(change["feature_widths"])


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("name", ["paper", "base", "lite"])
def test_published_sizes_build(name, size):
    config = replace(preset(name), image_size=size)
    model = meta_model(config)
    image = torch.zeros(1, 3, size, size, device="meta")
    animation = model.animate(model.observe(image), model.keypoint_detector(image))
    assert animation.image.shape == (1, 3, size, size)
    assert animation.coarse.motion.grid.shape == (1, 64, 64, 2)


def test_one_source_serves_a_batch():
    model, images = TalkingHead(preset("tiny")).eval(), torch.rand(3, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        source, driving = model.observe(images[:1]), model.keypoint_detector(images)
        together = model.animate(source, driving).image
        alone = [model.animate(source, model.keypoint_detector(image[None])).image for image in images]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)


def test_training_pass_gives_the_inference_image():
    model = TalkingHead(preset("tiny")).eval()
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        trained = model(x, x.flip(0), x)
        animation = model.animate(model.observe(x), model.keypoint_detector(x.flip(0)))
        low = model.decoder.head(model.decoder.hidden(model.decoder.trunk(animation.traces[0].compensated), None))
    assert torch.allclose(trained.animation.image, animation.image, atol=1e-5)
    assert torch.allclose(trained.low_resolution, low, atol=1e-5)
    assert torch.allclose(model.decoder.head(trained.last_hidden), animation.image, atol=1e-5)


def training_gradients(config):
    """Gradients after one step of the whole objective; images with structure, so that no gate is shut by chance."""
    torch.manual_seed(0)
    model, critic = TalkingHead(config).train(), Discriminator(width=8).requires_grad_(False)
    x = torch.nn.functional.interpolate(torch.rand(6, 3, 16, 16) * 2 - 1, size=(config.image_size,) * 2, mode="bicubic")
    warp = draw(3, generator=torch.Generator().manual_seed(1))
    objective = GeneratorObjective(LossConfig(perceptual="none", adversarial_start=0), None)
    result = model(x[:3], x[3:], warp.warp_frame(x[3:]))
    objective(result, x[3:], warp=warp, iteration=1, critic=critic).total.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def check_gradients(gradients):
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    # Biases may cancel exactly: before batch norm, in keys, and in logits of a softmax.
    dead = [n for n, g in gradients.items() if g.ndim > 1 and not (g.isfinite().all() and g.abs().max() > 0)]
    assert dead == []


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_every_parameter_receives_a_gradient(ablation):
    check_gradients(training_gradients(ablate(preset("tiny"), ablation)))


def blending() -> ModelConfig:
    tiny = preset("tiny")
    return replace(tiny, blend=True, keypoints=replace(tiny.keypoints, detail="patches"))


def test_every_parameter_of_a_blending_model_receives_a_gradient():
    check_gradients(training_gradients(blending()))


def test_where_nothing_is_drawn_the_warped_source_shows():
    torch.manual_seed(0)
    model, x = TalkingHead(blending()).eval(), torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        model.decoder.mask.bias.fill_(-100.0)
        trained = model(x, x.flip(0), x)
        source = model.observe(x)
        animation = model.animate(source, model.keypoint_detector(x.flip(0)))
        grid = animation.traces[-1].motion.grid
        model.decoder.mask.bias.fill_(100.0)
        drawn = model(x, x.flip(0), x)
    expected = warp(x, grid, outside="border")
    torch.testing.assert_close(animation.image, expected)
    torch.testing.assert_close(trained.animation.image, expected)
    torch.testing.assert_close(model.decoder.head(drawn.last_hidden), drawn.animation.image)
    assert trained.drawn.max() < 1e-6
    assert drawn.drawn.min() > 1 - 1e-6


def test_what_is_not_wanted_is_not_computed():
    torch.manual_seed(0)
    model, x = TalkingHead(preset("tiny")).eval(), torch.rand(4, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        whole, less = model(x, x.flip(0), x), model(x, x.flip(0), x, low_resolution=False, coded=1)
        none = model(x, x.flip(0), x, coded=0)
    assert less.low_resolution is None
    torch.testing.assert_close(less.animation.image, whole.animation.image)
    assert [codes.indices.shape[0] for codes in less.appearance_codes] == [1] * 4
    assert none.appearance_codes == ()
    for part, all_of_it in zip(less.appearance_codes, whole.appearance_codes, strict=True):
        assert (part.indices == all_of_it.indices[:1]).all()


def test_patches_see_what_a_blur_hides():
    """A chequered picture is grey to a blur, but for its border; patches see every pixel of it."""
    chequered = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(32, 32).expand(1, 3, -1, -1)
    moved = []
    with torch.no_grad():
        for config in (preset("tiny"), blending()):
            torch.manual_seed(0)
            detector = TalkingHead(config).eval().keypoint_detector
            found, other = (detector(each).position for each in (chequered, -chequered))
            moved.append(float((found - other).abs().max()))
    blurred, patches = moved
    assert patches > 10 * blurred


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "base", "lite"])
def test_every_parameter_of_the_large_presets_receives_a_gradient(name):
    # Half the size of the image and of the flow: the same modules, a quarter of the arithmetic.
    check_gradients(training_gradients(replace(preset(name), image_size=128, flow_size=32)))
