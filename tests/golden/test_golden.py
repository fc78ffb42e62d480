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
        assert error < 1e-6, f"{name}: {error:.2e}"


def test_training_step_is_as_recorded(golden):
    found = {f"train.{name}": value for name, value in make.training().items()}
    assert set(found) == {name for name in golden if name.startswith("train.")}
    assert len([name for name in found if ".loss." in name]) == 10  # all terms of section C but the two perceptual ones
    floor = 1e-6 * max(float(golden[name]) for name in golden if ".gradient." in name)
    for name, value in found.items():
        assert float(value) == pytest.approx(float(golden[name]), rel=1e-5, abs=floor), name
