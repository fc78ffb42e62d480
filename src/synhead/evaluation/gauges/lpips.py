"""LPIPS (Zhang et al. 2018), VGG variant of version 0.1: distances of VGG16's features, weighed by linear heads."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from synhead.evaluation.gauges.gauge import FrameGauge, Frames, Readings
from synhead.evaluation.gauges.tensors import to_images
from synhead.evaluation.trials import Trial
from synhead.evaluation.weight_files import LPIPS_HEADS, VGG16, UnavailableError, WeightFolder, read_state
from synhead.weights.vgg16 import PACKAGED_FILE, read_packaged_vgg16

_WIDTHS = (64, 128, 256, 512, 512)
_STAGES: tuple[tuple[int, ...], ...] = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Indices of the convolutions in torchvision's ``features``; a stage ends at its last ReLU, then comes a maximum."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10
_BATCH = 8


class Lpips:
    """``trunk``: torchvision's VGG16 state; ``heads``: version 0.1's. Raises UnavailableError for other tensors."""

    def __init__(self, trunk: Mapping[str, Tensor], heads: Mapping[str, Tensor], device: torch.device) -> None:
        try:
            self._kernels = {
                index: (trunk[f"features.{index}.weight"].to(device), trunk[f"features.{index}.bias"].to(device))
                for stage in _STAGES
                for index in stage
            }
            self._heads = [heads[f"lin{level}.model.1.weight"].to(device) for level in range(len(_STAGES))]
        except KeyError as error:
            raise UnavailableError(f"{VGG16.name} or {LPIPS_HEADS.name} lacks the tensor {error}") from error
        if [tuple(head.shape) for head in self._heads] != [(1, width, 1, 1) for width in _WIDTHS]:
            raise UnavailableError(f"{LPIPS_HEADS.name} has heads of other widths than VGG16's")
        self._shift = torch.tensor(_SHIFT, device=device).view(1, 3, 1, 1)
        self._scale = torch.tensor(_SCALE, device=device).view(1, 3, 1, 1)
        self.device = device

    def distance(self, first: Float[Tensor, "b 3 h w"], second: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Sum over stages of the spatial mean of w . (f1 - f2)^2, features of unit length; pictures in [-1, 1]."""
        total = torch.zeros(len(first), device=self.device)
        for head, one, other in zip(self._heads, self._features(first), self._features(second), strict=True):
            total = total + F.conv2d((_unit(one) - _unit(other)).square(), head).mean(dim=(1, 2, 3))
        return total

    def _features(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        x = (image - self._shift) / self._scale
        features: list[Tensor] = []
        for stage in _STAGES:
            if features:
                x = F.max_pool2d(x, 2)
            for index in stage:
                x = F.relu(F.conv2d(x, *self._kernels[index], padding=1))
            features.append(x)
        return features


class LpipsGauge(FrameGauge):
    """Against the driving frames."""

    metrics: tuple[str, ...] = ("lpips",)

    def __init__(self, network: Lpips) -> None:
        self._network = network

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """See Gauge."""
        found: list[float] = []
        starts = [*range(0, len(generated), _BATCH), len(generated)]
        with torch.inference_mode():
            for start, end in pairwise(starts):
                parts = [to_images(frames[start:end], self._network.device) for frames in (generated, trial.driving)]
                found += self._network.distance(*parts).tolist()
        return Readings(values={"lpips": tuple(found)})


def open_lpips(weights: WeightFolder, device: torch.device) -> LpipsGauge:
    """Raises UnavailableError naming the files that are missing."""
    trunk, heads = weights.require((VGG16, LPIPS_HEADS))
    return LpipsGauge(Lpips(_read_trunk(trunk), read_state(heads), device))


def _read_trunk(path: Path) -> Mapping[str, Tensor]:
    return read_packaged_vgg16(path) if path.name == PACKAGED_FILE else read_state(path)


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
