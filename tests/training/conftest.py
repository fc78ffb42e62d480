"""Fixtures of the training tests."""

from __future__ import annotations

import pytest
from lightning_fabric import Fabric
from training_factory import TRAINING, micro_model

from synhead.training.state import TrainingState, build


@pytest.fixture(scope="session")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def state(fabric: Fabric) -> TrainingState:
    return build(micro_model(), TRAINING, fabric.device)
