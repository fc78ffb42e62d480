"""The tiny model and one of its training steps give what they gave when parity with the reference was last seen."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden import make


@pytest.fixture(scope="module")
def golden():
    with np.load(make.FILE) as archive:
        return {name: archive[name] for name in archive.files}


def test_inference_is_as_recorded(golden):
    found = make.inference()
    assert set(found) == {name for name in golden if not name.startswith("train.")}
    for name, value in found.items():
        error = np.linalg.norm(value - golden[name]) / np.linalg.norm(golden[name])
        assert error < 1e-3, f"{name}: {error:.2e}"


def test_training_step_is_as_recorded(golden):
    found = {f"train.{name}": value for name, value in make.training().items()}
    assert set(found) == {name for name in golden if name.startswith("train.")}
    losses = [name for name in found if ".loss." in name]
    assert len(losses) == 10  # all terms of section C but the two perceptual ones
    for name in losses:
        assert float(found[name]) == pytest.approx(float(golden[name]), rel=3e-3, abs=1e-6), name
    floor = 1e-4 * max(float(golden[name]) for name in golden if ".gradient." in name)
    errors = [
        abs(float(value) - float(golden[name])) / max(float(golden[name]), floor)
        for name, value in found.items()
        if ".gradient." in name
    ]
    assert np.mean(np.array(errors) <= 0.03) >= 0.97
