"""AED: distances of OpenFace embeddings. The network is nn4.small2 of OpenFace's model definitions (Amos et al. 2016).

Written from that table of layers; the names of parameters are those of ``openface.pth``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.evaluation.gauges.gauge import Features, FrameGauge, Frames, Readings, Remembered, paired
from synhead.evaluation.trials import Trial
from synhead.evaluation.weight_files import OPENFACE, UnavailableError, WeightFolder, read_state
from synhead.types import NDArray

Embedding = Float[NDArray[Any], " d"]

SIDE_PX = 96
_BATCH = 32


class OpenFace(nn.Module):
    """BGR pictures of 96 x 96 in [0, 1] to embeddings of 128 numbers and unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.layer2 = nn.BatchNorm2d(64)
        self.layer6 = nn.Conv2d(64, 64, 1)
        self.layer7 = nn.BatchNorm2d(64)
        self.layer9 = nn.Conv2d(64, 192, 3, padding=1)
        self.layer10 = nn.BatchNorm2d(192)
        self.normalised = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        biggest, energy = nn.MaxPool2d(3, stride=2), nn.LPPool2d(2, 3, stride=3)
        self.layer14 = _Inception(192, {3: (96, 128), 5: (16, 32)}, biggest, pooled=32, direct=64)
        self.layer15 = _Inception(256, {3: (96, 128), 5: (32, 64)}, energy, pooled=64, direct=64)
        self.layer16 = _Inception(320, {3: (128, 256), 5: (32, 64)}, biggest, stride=2)
        self.layer17 = _Inception(640, {3: (96, 192), 5: (32, 64)}, energy, pooled=128, direct=256)
        self.layer18 = _Inception(640, {3: (160, 256), 5: (64, 128)}, biggest, stride=2)
        self.layer19 = _Inception(1024, {3: (96, 384)}, energy, pooled=96, direct=256)
        self.layer21 = _Inception(736, {3: (96, 384)}, biggest, pooled=96, direct=256)
        self.layer25 = nn.Linear(736, 128)

    def forward(self, image: Float[Tensor, "b 3 96 96"]) -> Float[Tensor, "b 128"]:
        """See class."""
        x = F.max_pool2d(F.relu(self.layer2(self.layer1(image))), 3, stride=2, padding=1)
        x = F.relu(self.layer7(self.layer6(self.normalised(x))))
        x = F.relu(self.layer10(self.layer9(x)))
        x = F.max_pool2d(self.normalised(x), 3, stride=2, padding=1)
        for block in (self.layer14, self.layer15, self.layer16, self.layer17, self.layer18, self.layer19, self.layer21):
            x = block(x)
        x = self.layer25(x.mean(dim=(2, 3)))
        embedding: Tensor = x / (x.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()
        return embedding


class _Inception(nn.Module):
    """Branches side by side: 1 x 1 then k x k for each kernel; pooling, then 1 x 1 if ``pooled``; 1 x 1 if ``direct``.

    Smaller maps are padded with zeros to the size of the largest.
    """

    def __init__(
        self,
        channels: int,
        kernels: Mapping[int, tuple[int, int]],
        pool: nn.Module,
        *,
        stride: int = 1,
        pooled: int = 0,
        direct: int = 0,
    ) -> None:
        super().__init__()
        branches = [_branch(channels, size, widths, stride) for size, widths in kernels.items()]
        branches.append(nn.Sequential())
        branches[-1].add_module("1_pool", pool)
        if pooled:
            branches[-1].add_module("2_conv", nn.Conv2d(channels, pooled, 1))
            branches[-1].add_module("3_bn", nn.BatchNorm2d(pooled))
            branches[-1].add_module("4_relu", nn.ReLU())
        if direct:
            branches.append(nn.Sequential())
            branches[-1].add_module("1_conv", nn.Conv2d(channels, direct, 1))
            branches[-1].add_module("2_bn", nn.BatchNorm2d(direct))
            branches[-1].add_module("3_relu", nn.ReLU())
        self.seq_list = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        maps = [branch(x) for branch in self.seq_list]
        height, width = max(m.shape[2] for m in maps), max(m.shape[3] for m in maps)
        return torch.cat([_padded(m, height, width) for m in maps], dim=1)


class OpenFaceGauge(FrameGauge):
    """Whole frames, no crop: against the driving frames, or across identities against the source.

    ``network``: an :class:`OpenFace`, or what takes and gives the same.
    """

    metrics: tuple[str, ...] = ("aed.published", "aed.standard")

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network, self._device = network.to(device), device
        self._driving = Remembered(self.embeddings)

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """See Gauge."""
        wanted = self._driving(trial.driving) if trial.same_identity else self.embeddings(trial.source[None])
        results = self.embeddings(generated)
        pairs = zip(results, np.broadcast_to(wanted, results.shape), strict=True)
        return paired(self.metrics, pairs, _distances)

    def embeddings(self, frames: Frames) -> Features:
        """One row a frame."""
        resize = import_module("skimage.transform").resize
        small = np.stack([resize(frame, (SIDE_PX, SIDE_PX)) for frame in frames])  # to [0, 1], smoothed first
        bgr = torch.from_numpy(np.ascontiguousarray(small[..., ::-1].transpose(0, 3, 1, 2))).float()
        with torch.inference_mode():
            parts = [self._network(part.to(self._device)).cpu() for part in bgr.split(_BATCH)]
        return torch.cat(parts).double().numpy()


def open_openface(weights: WeightFolder, device: torch.device) -> OpenFaceGauge:
    """Raises UnavailableError naming the file or package that is missing."""
    (path,) = weights.require((OPENFACE,))
    try:
        import_module("skimage.transform")
    except ImportError as error:
        raise UnavailableError("needs scikit-image: pip install 'synhead[evaluation]'") from error
    return OpenFaceGauge(load_openface(read_state(path)), device)


def load_openface(state: Mapping[str, Tensor]) -> OpenFace:
    """The network with the file's weights, in eval mode. Raises UnavailableError for other tensors."""
    network = OpenFace()
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise UnavailableError(f"{OPENFACE.name} does not hold OpenFace's nn4.small2: download it again") from error
    return network.eval().requires_grad_(requires_grad=False)


def _distances(result: Embedding, wanted: Embedding) -> tuple[float, float]:
    squared = float(np.square(result - wanted).sum())
    return squared, math.sqrt(squared)


def _branch(channels: int, size: int, widths: tuple[int, int], stride: int) -> nn.Sequential:
    reduced, width = widths
    branch = nn.Sequential()
    branch.add_module("1_conv", nn.Conv2d(channels, reduced, 1))
    branch.add_module("2_bn", nn.BatchNorm2d(reduced))
    branch.add_module("3_relu", nn.ReLU())
    branch.add_module("4_conv", nn.Conv2d(reduced, width, size, stride=stride, padding=size // 2))
    branch.add_module("5_bn", nn.BatchNorm2d(width))
    branch.add_module("6_relu", nn.ReLU())
    return branch


def _padded(x: Tensor, height: int, width: int) -> Tensor:
    missing_y, missing_x = height - x.shape[2], width - x.shape[3]
    left, top = missing_x // 2, missing_y // 2
    return F.pad(x, (left, missing_x - left, top, missing_y - top))
