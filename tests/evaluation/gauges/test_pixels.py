"""Each frame against its own; the metrics themselves are tested with the image metrics."""

from __future__ import annotations

import pytest

from synhead.evaluation.gauges.pixels import PixelGauge
from synhead.evaluation.image_metrics import IDENTICAL_DB, l1, psnr_db, ssim


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
