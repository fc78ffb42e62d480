"""MS-SSIM against torchmetrics; PSNR, L1 and SSIM are tested with the image metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synhead.evaluation.gauges.pixels import PixelGauge, multi_scale
from synhead.evaluation.image_metrics import IDENTICAL_DB, l1, psnr_db, ssim


def test_ms_ssim_against_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional.image")
    generator = np.random.default_rng(0)
    smooth = 120 + 20 * np.cumsum(generator.normal(size=(3, 192, 200, 3)), axis=1) / 3
    first = np.clip(smooth, 0, 255).astype(np.uint8)
    second = np.clip(smooth + generator.normal(scale=25, size=smooth.shape), 0, 255).astype(np.uint8)
    tensors = [torch.from_numpy(frames.transpose(0, 3, 1, 2).astype(np.float32)) for frames in (first, second)]
    expected = functional.multiscale_structural_similarity_index_measure(
        *tensors, data_range=255.0, reduction="none", normalize=None
    )
    found = multi_scale(first, second)
    assert max(found) < 0.97
    assert found == pytest.approx(expected.tolist(), abs=1e-4)


def test_each_frame_against_its_own(make_trial):
    trial = make_trial(size=176, frames=2)
    generated = trial.driving.copy()
    generated[1] = trial.driving[0]
    readings = PixelGauge().measure(trial, generated)
    assert readings.skips == ()
    assert readings.values["psnr"] == (IDENTICAL_DB, psnr_db(trial.driving[0], trial.driving[1]))
    assert readings.values["l1"] == (0, l1(trial.driving[0], trial.driving[1]))
    assert readings.values["ssim"] == pytest.approx([1, ssim(trial.driving[0], trial.driving[1])])
    assert readings.values["ms_ssim"][0] == pytest.approx(1, abs=1e-5)
    assert readings.values["ms_ssim"][1] < 0.5


def test_pictures_too_small_are_told(make_trial):
    trial = make_trial(size=10, frames=1)
    readings = PixelGauge().measure(trial, trial.driving)
    assert readings.values["ssim"] == readings.values["ms_ssim"] == (None,)
    assert [skip.metrics for skip in readings.skips] == [("ssim",), ("ms_ssim",)]
    assert "10 pixels" in readings.skips[0].reason
