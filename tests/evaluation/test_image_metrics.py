from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from synhead.evaluation.image_metrics import IDENTICAL_DB, l1, ms_ssim, psnr_db, ssim


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    smooth = np.cumsum(generator.normal(size=(64, 48, 3)), axis=0) * 6 + 120
    first = np.clip(smooth, 0, 255).astype(np.uint8)
    second = np.clip(smooth + generator.normal(scale=12, size=smooth.shape), 0, 255).astype(np.uint8)
    return first, second


def test_psnr_and_l1_against_hand(pair):
    first, second = pair
    difference = first.astype(float) - second
    assert psnr_db(first, second) == pytest.approx(10 * math.log10(255**2 / (difference**2).mean()), abs=1e-9)
    assert l1(first, second) == pytest.approx(np.abs(difference).mean() / 255, abs=1e-12)


def test_identical_and_opposite():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert psnr_db(black, black) == IDENTICAL_DB
    assert psnr_db(black, white) == 0
    assert l1(black, white) == 1
    assert ssim(white, white) == pytest.approx(1)
    assert ssim(black, white) < 0.01


def test_metrics_against_skimage(pair):
    metrics = pytest.importorskip("skimage.metrics")
    first, second = pair
    expected = metrics.structural_similarity(
        first, second, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=255
    )
    assert ssim(first, second) == pytest.approx(expected, abs=1e-6)
    assert psnr_db(first, second) == pytest.approx(metrics.peak_signal_noise_ratio(first, second, data_range=255))


def test_ssim_against_torchmetrics(pair):
    """torchmetrics averages over its reflected borders too; on the valid area it agrees."""
    functional = pytest.importorskip("torchmetrics.functional.image")
    tensors = [torch.from_numpy(p.transpose(2, 0, 1).astype(np.float64))[None] for p in pair]
    _, full = functional.structural_similarity_index_measure(*tensors, data_range=255.0, return_full_image=True)
    assert ssim(*pair) == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(192, 200), (176, 181), (256, 256)])
def test_ms_ssim_against_torchmetrics(height, width):
    functional = pytest.importorskip("torchmetrics.functional.image")
    generator = np.random.default_rng(0)
    smooth = 120 + 7 * np.cumsum(generator.normal(size=(height, width, 3)), axis=0)
    first = np.clip(smooth, 0, 255).astype(np.uint8)
    second = np.clip(smooth + generator.normal(scale=25, size=smooth.shape), 0, 255).astype(np.uint8)
    tensors = [torch.from_numpy(p.transpose(2, 0, 1).astype(np.float64))[None] for p in (first, second)]
    expected = functional.multiscale_structural_similarity_index_measure(*tensors, data_range=255.0)
    assert ms_ssim(first, second) < 0.99
    assert ms_ssim(first, second) == pytest.approx(float(expected), abs=1e-4)
    assert ms_ssim(first, first) == pytest.approx(1)
