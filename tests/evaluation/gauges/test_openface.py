"""OpenFace's nn4.small2 against thnkim/OpenFacePytorch, whose forward pass gave these numbers for the same weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from synhead.evaluation.gauges.openface import OpenFace, OpenFaceGauge, load_openface
from synhead.evaluation.weight_files import UnavailableError
from tests.evaluation.conftest import waves

CPU = torch.device("cpu")
PARAMETERS = 3_733_968
"""As OpenFace's definition of nn4.small2 says."""
EXPECTED = [-0.04273448, -0.02386871, 0.09329944, -0.12668821, 0.10315355, -0.03048581]


@pytest.fixture(scope="module")
def network():
    return load_openface(waves(OpenFace()))


def test_parameters_of_the_definition():
    assert sum(parameter.numel() for parameter in OpenFace().parameters()) == PARAMETERS


def test_embedding_of_the_public_port(network):
    angles = torch.arange(2 * 3 * 96 * 96, dtype=torch.float64) * 0.37
    images = ((torch.sin(angles) + 1) / 2).view(2, 3, 96, 96).float()
    with torch.no_grad():
        found = network(images)
    assert found[0, :6].tolist() == pytest.approx(EXPECTED, abs=1e-4)
    assert found.square().sum(1).tolist() == pytest.approx([1, 1], abs=1e-4)


def test_published_is_the_square_of_standard_and_zero_for_the_reference(network, make_trial):
    gauge = OpenFaceGauge(network, CPU)
    trial = make_trial(frames=3)
    assert gauge.measure(trial, trial.driving).values["aed.published"] == (0, 0, 0)
    values = gauge.measure(trial, np.zeros_like(trial.driving)).values
    assert min(values["aed.published"]) > 0
    assert values["aed.published"] == pytest.approx([value**2 for value in values["aed.standard"]])


def test_across_identities_against_the_source(network, make_trial):
    gauge = OpenFaceGauge(network, CPU)
    trial = make_trial(cross=True)
    copied = np.repeat(trial.source[None], len(trial.driving), axis=0)
    assert gauge.measure(trial, copied).values["aed.standard"] == pytest.approx([0, 0, 0], abs=1e-6)


def test_frames_are_made_small_blue_first_and_in_unit_range():
    seen = []

    class Recorder(torch.nn.Module):
        def forward(self, image):
            seen.append(image)
            return torch.ones(len(image), 128) / math.sqrt(128)

    gauge = OpenFaceGauge(Recorder(), CPU)
    frames = np.zeros((2, 192, 192, 3), np.uint8)
    frames[..., 0] = 255
    gauge.embeddings(frames)
    assert seen[0].shape == (2, 3, 96, 96)
    assert [float(seen[0][:, channel].mean()) for channel in range(3)] == pytest.approx([0, 0, 1])


def test_other_weights_are_refused():
    with pytest.raises(UnavailableError, match=r"nn4\.small2"):
        load_openface({"layer1.weight": torch.zeros(1)})
