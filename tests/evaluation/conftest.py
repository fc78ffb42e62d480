"""What the tests of metrics share: trials of noise, and weights by formula instead of the published ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synhead.evaluation.trials import Trial


def waves(module: nn.Module) -> dict[str, Tensor]:
    """Weights by formula, the same on every machine, that keep activations in range."""
    state = {}
    for place, (name, tensor) in enumerate(module.state_dict().items()):
        if not tensor.is_floating_point():
            state[name] = torch.zeros_like(tensor)
            continue
        angles = torch.arange(tensor.numel(), dtype=torch.float64) * (0.7 + 0.01 * place) + place
        wave = torch.sin(angles).view(tensor.shape)
        if name.endswith("running_var"):
            value = 1 + 0.5 * wave.square()
        elif tensor.ndim > 1:
            value = wave * math.sqrt(4 / tensor[0].numel())
        else:
            value = 1 + 0.3 * wave if name.endswith("weight") else 0.1 * wave
        state[name] = value.float()
    return state


@pytest.fixture
def make_trial() -> Callable[..., Trial]:
    def make(name: str = "a", seed: int = 0, size: int = 32, frames: int = 3, *, cross: bool = False) -> Trial:
        pictures = np.random.default_rng(seed).integers(1, 256, (frames + 2, size, size, 3), dtype=np.uint8)
        reference = pictures[-1] if cross else None
        return Trial(name, pictures[0], pictures[1:-1], tuple(range(1, frames + 1)), reference)

    return make


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
