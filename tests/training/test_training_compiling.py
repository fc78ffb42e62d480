from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synhead.nn.attention import RetrievalLayer
from synhead.nn.blocks import ResBlock
from synhead.training.compiling import regions
from synhead.training.state import TrainingState


def test_regions_hold_most_of_the_model_and_do_not_nest(state: TrainingState) -> None:
    found = list(regions(state.model))
    inner = {module for region in found for module in region.modules() if module is not region}
    assert inner.isdisjoint(found)
    inside = sum(parameter.numel() for region in found for parameter in region.parameters())
    assert inside > 0.7 * sum(parameter.numel() for parameter in state.model.parameters())


@pytest.mark.slow
def test_compiled_regions_give_the_step_of_the_plain_model() -> None:
    script = Path(__file__).with_name("compiled_step.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_kernels_have_joined_is_left_to_them(state: TrainingState) -> None:
    plain, rest = list(regions(state.model)), list(regions(state.model, kernels=True))
    assert set(rest) < set(plain)
    assert not any(isinstance(region, ResBlock) for region in rest)
    assert any(isinstance(region, RetrievalLayer) for region in rest)
