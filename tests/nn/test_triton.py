"""The Triton kernels compute what PyTorch does: interpreted on a CPU, compiled on a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_kernels():
    """One test, for the cases take a minute: single kernels, whole pictures, and every gradient of a training pass."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.nn.triton_cases"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    errors: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    trained = {name: error for name, error in errors.items() if name.startswith("training")}
    kernels = {
        name: error for name, error in errors.items() if not name.startswith(("picture", "no numbers", "training"))
    }
    assert len(kernels) > 120
    assert {name: error for name, error in kernels.items() if error > 1e-5} == {}
    assert errors["no numbers"] == 1, "a flow without numbers read something outside"
    assert errors["picture published"] <= 1
    assert errors["picture blending"] <= 1
    assert len(trained) > 300
    assert {name: error for name, error in trained.items() if error > 1e-3} == {}


def test_scores_are_not_multiplied_inside_exponents():
    """A fused product less a rounded one is no zero where a whole tile of keys is ignored: see the kernel."""
    pytest.importorskip("triton.backends.nvidia")
    done = subprocess.run(
        [sys.executable, "-m", "tests.nn.triton_compiled"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    instructions = json.loads(done.stdout.splitlines()[-1])
    assert instructions
    assert not [name for name in instructions if name.startswith("fma")]
