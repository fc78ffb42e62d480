"""The Frechet distance against the textbook formula with a matrix square root, and the gauge's two variants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from synhead.evaluation.gauges.fid import FidGauge, frechet_distance

CPU = torch.device("cpu")


class Colours(nn.Module):
    """Means of each quarter's colours: features that are easy to compute by hand."""

    def forward(self, image):
        return nn.functional.adaptive_avg_pool2d(image, 2).flatten(1)


@pytest.mark.parametrize(("rows", "others", "width"), [(50, 60, 8), (200, 30, 12), (5, 7, 20)])
def test_against_scipys_square_root(rows, others, width):
    linalg = pytest.importorskip("scipy.linalg")
    generator = np.random.default_rng(0)
    first = generator.normal(size=(rows, width)) @ generator.normal(size=(width, width))
    second = generator.normal(size=(others, width)) @ generator.normal(size=(width, width)) + 0.3
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    expected = np.square(first.mean(0) - second.mean(0)).sum() + sum(np.trace(c) for c in covariances)
    expected -= 2 * np.trace(root.real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_by_hand_in_one_dimension():
    """Variances 2 and 8, means 1 and 4: 9 + 2 + 8 - 2 * 4."""
    first, second = np.array([[0.0], [2.0]]), np.array([[2.0], [6.0]])
    assert frechet_distance(first, second) == pytest.approx(9 + 2 + 8 - 2 * 4)


def test_same_set_in_any_order_is_zero():
    features = np.random.default_rng(1).normal(size=(40, 16))
    assert frechet_distance(features, features[::-1].copy()) == pytest.approx(0, abs=1e-9)


def test_published_is_against_the_source_and_standard_against_the_driver(make_trial):
    gauge = FidGauge(Colours(), CPU)
    trial = make_trial(frames=5)
    perfect = gauge.measure(trial, trial.driving)
    assert perfect.values == {}
    totals = gauge.totals(perfect.features)
    assert totals["fid.standard"] == pytest.approx(0, abs=1e-9)
    assert totals["fid.published"] > 1e-4
    copied = gauge.measure(trial, np.repeat(trial.source[None], 5, axis=0))
    assert gauge.totals(copied.features)["fid.published"] == pytest.approx(0, abs=1e-9)
    assert copied.features["source"].shape == copied.features["generated"].shape == (5, 12)


def test_one_frame_has_no_distance(make_trial):
    gauge = FidGauge(Colours(), CPU)
    trial = make_trial(frames=1)
    assert gauge.totals(gauge.measure(trial, trial.driving).features) == {}
    assert gauge.totals({}) == {}
