"""FID (Heusel et al. 2017): the Frechet distance of two sets of Inception features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from synhead.evaluation.gauges.gauge import Features, FrameGauge, Frames, Readings, Remembered
from synhead.evaluation.gauges.inception import load_inception
from synhead.evaluation.gauges.tensors import to_unit_images
from synhead.evaluation.trials import Trial
from synhead.evaluation.weight_files import INCEPTION, WeightFolder, read_state
from synhead.types import NDArray

_BATCH = 32


class FidGauge(FrameGauge):
    """Both variants: results against one copy of the source a frame, and against the driving frames.

    ``network``: pictures in [0, 1] to features, a :class:`~synhead.evaluation.gauges.inception.FidInception`.
    """

    metrics: tuple[str, ...] = ("fid.published", "fid.standard")

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network, self._device = network.to(device), device
        self._driving = Remembered(self._features)

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """See Gauge."""
        source = self._features(trial.source[None]).repeat(len(generated), axis=0)
        driving = self._driving(trial.driving)
        return Readings(features={"source": source, "driving": driving, "generated": self._features(generated)})

    def totals(self, features: Mapping[str, Features]) -> Mapping[str, float]:
        """See Gauge. Empty with fewer than two frames."""
        if not features or len(features["generated"]) < 2:
            return {}
        return {
            "fid.published": frechet_distance(features["source"], features["generated"]),
            "fid.standard": frechet_distance(features["driving"], features["generated"]),
        }

    def _features(self, frames: Frames) -> Features:
        found = []
        with torch.inference_mode():
            for start in range(0, len(frames), _BATCH):
                found.append(self._network(to_unit_images(frames[start : start + _BATCH], self._device)).cpu())
        return torch.cat(found).double().numpy()


def open_fid(weights: WeightFolder, device: torch.device) -> FidGauge:
    """Raises UnavailableError naming the file that is missing."""
    (path,) = weights.require((INCEPTION,))
    return FidGauge(load_inception(read_state(path)), device)


def frechet_distance(first: Features, second: Features) -> float:
    """``|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)`` of the two sets' means and unbiased covariances.

    With S = R^T R, the last trace is the nuclear norm of R1 R2^T: no square root of an ill-conditioned matrix is
    taken. Rows are samples; each set needs two.
    """
    (mean_a, root_a), (mean_b, root_b) = _moments(first), _moments(second)
    shift = float(np.square(mean_a - mean_b).sum())
    spread = float(np.square(root_a).sum() + np.square(root_b).sum())
    cross = float(np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum())
    return max(0.0, shift + spread - 2 * cross)


def _moments(features: Features) -> tuple[Float[NDArray[Any], " d"], Features]:
    """Mean, and a matrix R with R^T R = covariance."""
    mean = features.mean(axis=0)
    centred = (features - mean) / math.sqrt(len(features) - 1)
    root: Features = np.asarray(np.linalg.qr(centred, mode="r"))
    return mean, root
