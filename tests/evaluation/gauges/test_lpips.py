"""LPIPS against torchmetrics' implementation, with the same random trunk and the published heads in both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from synhead.evaluation.gauges import lpips
from synhead.evaluation.gauges.lpips import Lpips, LpipsGauge, open_lpips
from synhead.evaluation.weight_files import LPIPS_HEADS, VGG16, UnavailableError, WeightFolder, read_state

CPU = torch.device("cpu")


def vgg16_features() -> nn.Sequential:
    """torchvision's layout, random weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width == 0:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        nn.init.kaiming_normal_(layers[-2].weight)
        channels = width
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def trunk():
    return vgg16_features()


@pytest.fixture
def heads():
    pytest.importorskip("torchmetrics")
    (path,) = WeightFolder().require((LPIPS_HEADS,))
    return read_state(path)


def state_of(trunk):
    return {f"features.{name}": tensor for name, tensor in trunk.state_dict().items()}


def test_against_torchmetrics(trunk, heads, monkeypatch):
    oracle_module = pytest.importorskip("torchmetrics.functional.image.lpips")
    monkeypatch.setattr(oracle_module, "_get_tv_model_features", lambda *_: trunk)
    oracle = oracle_module._LPIPS(net="vgg", pnet_rand=True, use_dropout=True)
    first, second = (torch.rand(3, 3, 48, 64, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in (1, 2))
    with torch.no_grad():
        expected = oracle(first, second).flatten()
        found = Lpips(state_of(trunk), heads, CPU).distance(first, second)
    assert expected.min() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_gauge_is_zero_for_the_driving_frames_and_batches_do_not_matter(trunk, heads, make_trial, monkeypatch):
    gauge = LpipsGauge(Lpips(state_of(trunk), heads, CPU))
    trial = make_trial(frames=3)
    assert gauge.measure(trial, trial.driving).values["lpips"] == pytest.approx([0, 0, 0], abs=1e-6)
    generated = trial.driving[::-1].copy()
    whole = gauge.measure(trial, generated).values["lpips"]
    monkeypatch.setattr(lpips, "_BATCH", 2)
    assert gauge.measure(trial, generated).values["lpips"] == pytest.approx(whole, abs=1e-6)
    assert whole[0] > 0.01


def test_opens_a_file_and_refuses_another(trunk, heads, tmp_path, monkeypatch):
    torch.save(state_of(trunk), tmp_path / VGG16.name)
    with pytest.raises(UnavailableError, match="SHA-256"):
        open_lpips(WeightFolder(tmp_path), CPU)
    monkeypatch.setattr(lpips, "VGG16", replace(VGG16, sha256=""))
    weights = WeightFolder(tmp_path)
    assert open_lpips(weights, CPU).metrics == ("lpips",)
    assert set(weights.used) == {VGG16.name, LPIPS_HEADS.name}
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / VGG16.name)
    with pytest.raises(UnavailableError, match=r"lacks the tensor 'features\.0\.bias'"):
        open_lpips(WeightFolder(tmp_path), CPU)


def test_input_range(trunk, heads):
    """8-bit 0 and 255 are -1 and 1."""
    images = lpips.to_images(np.array([[[[0, 255, 51]]]], np.uint8), CPU)
    assert images.flatten().tolist() == pytest.approx([-1, 1, -0.6])
