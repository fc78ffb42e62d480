"""The prepared engine gives what the plain modules give, in both precisions, at any batch size."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from synhead.config import ModelConfig, preset
from synhead.inference import fast
from synhead.inference.engine import EagerEngine
from synhead.inference.fast import FastEngine
from synhead.inference.prepared import PlainLayout, prepare
from synhead.model.talking_head import TalkingHead
from synhead.nn.fast_conv import PhaseUpsample, WinogradConv2d
from synhead.weights import checkpoint
from tests.inference.conftest import blobs

FRAMES = [blobs(seed) for seed in range(1, 33)]


def varied(config: ModelConfig) -> TalkingHead:
    """Random weights in which nothing is at its neutral start: norms, codes and Jacobians all matter."""
    torch.manual_seed(0)
    model = TalkingHead(config).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
        model.keypoint_detector.jacobian.weight.normal_(std=0.05)
        for part in (model.motion_compensation, model.appearance_compensation):
            part.transformer.position.normal_(std=0.2)
            part.codebook.weight.normal_()
    return model


@pytest.fixture(scope="module")
def model() -> TalkingHead:
    return varied(preset("tiny"))


def drawn(engine, portrait, count=3):
    source = engine.observe(portrait)
    return engine.render(source, engine.keypoints(FRAMES[:count])).astype(int)


@pytest.mark.parametrize("count", [1, 7, 32])
def test_fp32_is_within_a_level(model, portrait, count):
    wanted, found = (drawn(engine, portrait, count) for engine in (EagerEngine(model), FastEngine(model)))
    assert found.shape == (count, 64, 64, 3)
    assert np.abs(found - wanted).max() <= 1
    assert np.abs(found - wanted).mean() < 0.01
    assert count == 1 or wanted.std(axis=0).max() > 2, "the frames differ, or this test shows nothing"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_blending_model(portrait, precision):
    tiny = preset("tiny")
    model = varied(replace(tiny, blend=True, keypoints=replace(tiny.keypoints, detail="patches")))
    with torch.no_grad():
        model.decoder.mask.weight.normal_(std=0.1)
    wanted, found = drawn(EagerEngine(model), portrait), drawn(FastEngine(model, precision=precision), portrait)
    error = np.abs(found - wanted)
    assert error.max() <= 1 if precision == "fp32" else error.mean() <= 1


@pytest.mark.parametrize("size", [64, 128])
def test_image_sizes(portrait, size):
    model = varied(replace(preset("tiny"), image_size=size))
    large = np.kron(portrait, np.ones((size // 64, size // 64, 1), dtype=np.uint8))
    source = EagerEngine(model).observe(large)
    driving = EagerEngine(model).keypoints([large[::-1].copy()])
    wanted = EagerEngine(model).render(source, driving).astype(int)
    found = FastEngine(model).render(FastEngine(model).observe(large), driving).astype(int)
    assert np.abs(found - wanted).max() <= 1


def test_bf16_rounds_no_more_than_autocast_does(model, portrait, kernels):
    exact = drawn(EagerEngine(model), portrait)
    autocast, prepared, native = (
        np.abs(drawn(engine, portrait) - exact).mean()
        for engine in (
            EagerEngine(model, precision="bf16"),
            FastEngine(model, precision="bf16"),
            FastEngine(model, precision="bf16", kernels=kernels),
        )
    )
    # Untrained weights amplify rounding, so the yardstick is plain autocast; on trained ones, benchmarks/inference.py.
    assert 0 < prepared <= 1.25 * autocast
    assert 0 < native <= autocast, "most of it is computed in float32"


@pytest.mark.parametrize("tiles", [True, False])
def test_a_wide_model_goes_by_winograd_where_a_cpu_has_no_matrix_tiles(portrait, monkeypatch, tiles):
    monkeypatch.setattr("synhead.inference.prepared.has_matrix_tiles", lambda: tiles)
    config = replace(preset("tiny"), feature_widths=(64, 64, 64, 64), name="wide")
    model = varied(config)
    if torch.backends.nnpack.is_available():
        found = [type(module) for module in prepare(model, half=False).modules()]
        assert (WinogradConv2d in found) is (PlainLayout in found) is not tiles
    wanted, found = (drawn(engine, portrait, 1) for engine in (EagerEngine(model), FastEngine(model)))
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("count", [1, 7, 32])
def test_native_is_within_a_level(model, portrait, kernels, count):
    wanted, found = (
        drawn(engine, portrait, count) for engine in (EagerEngine(model), FastEngine(model, kernels=kernels))
    )
    assert np.abs(found - wanted).max() <= 1
    assert np.abs(found - wanted).mean() < 0.01


@pytest.mark.parametrize(
    "config",
    [
        preset("lite"),
        replace(preset("tiny"), feature_widths=(64, 64, 64, 64), name="wide"),
        replace(preset("tiny"), image_size=128, name="large"),
    ],
    ids=lambda config: config.name,
)
def test_native_at_other_widths_and_sizes(kernels, config):
    model, portrait = varied(config), blobs(0, config.image_size)
    driving = EagerEngine(model).keypoints([blobs(1, config.image_size)])
    wanted, found = (
        engine.render(engine.observe(portrait), driving).astype(int)
        for engine in (EagerEngine(model), FastEngine(model, kernels=kernels))
    )
    assert np.abs(found - wanted).max() <= 1
    assert wanted.std() > 5, "a flat picture would agree with anything"


def test_the_given_model_is_left_as_it_was(model, portrait, kernels):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pointers = {name: value.data_ptr() for name, value in model.state_dict().items()}
    drawn(FastEngine(model, precision="bf16"), portrait, 1)
    drawn(FastEngine(model, kernels=kernels), portrait, 1)
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert value.data_ptr() == pointers[name]
        assert torch.equal(value, before[name]), name


def test_half_precision_weights_are_cast_once(model):
    half = prepare(model, half=True)
    assert half.decoder.head.weight.dtype == torch.bfloat16
    assert half.keypoint_detector.logits.weight.dtype == torch.float32, "coordinates stay exact"
    assert half.coarse_motion.mask.weight.dtype == torch.float32
    assert any(isinstance(module, PhaseUpsample) for module in half.decoder.modules())


def test_compiled_falls_back_aloud(model, portrait, monkeypatch, caplog):
    monkeypatch.setattr(fast, "can_compile", lambda _: False)
    engine = FastEngine(model, compiled=True)
    assert "running uncompiled" in caplog.text
    assert not engine.compiled
    assert np.abs(drawn(engine, portrait) - drawn(EagerEngine(model), portrait)).max() <= 1


def test_loading_and_drawing_import_no_compiler(tmp_path, model):
    checkpoint.save(model, tmp_path / "tiny")
    code = f"""
import sys, numpy as np
from synhead.inference.animator import Animator
animator = Animator.from_pretrained({str(tmp_path / "tiny")!r}, device="cpu")
frame = np.zeros((64, 64, 3), np.uint8)
animator.observe(frame)
next(animator.animate([frame]))
print([m for m in "torch._dynamo triton torchvision onnxruntime torch.onnx".split() if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
