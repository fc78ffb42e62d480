"""The keypoint detector alone, led to landmarks, before everything else is trained: a hundredth of the arithmetic.

An option of ours for sets whose landmarks are known (:mod:`synhead.data.face_points`). Equivariance holds the keypoints
that no landmark leads, and all Jacobians, to their meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.config import require
from synhead.data.pairs import PairBatch, PairSource
from synhead.losses.keypoints import equivariance_jacobian_loss, equivariance_value_loss
from synhead.losses.regions import landmark_loss, opening_loss
from synhead.model.keypoints import KeypointDetector
from synhead.training.randomness import warps_for
from synhead.types import FacePoint, Keypoints


@dataclass(frozen=True, kw_only=True)
class KeypointStart:
    """How the detector is trained: Adam, ``rate`` falling to 0 along a cosine, ``batch`` pairs a step."""

    steps: int = 2000
    batch: int = 64
    rate: float = 1e-3
    warmup: int = 100
    landmarks: float = 10.0
    openings: float = 10.0
    equivariance: float = 1.0
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Of a step counted from 1."""
        return self.rate * min(1.0, step / self.warmup) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True, slots=True)
class KeypointFigures:
    """Mean distances in pixels: of a led keypoint to its landmark in x or y, and of the gaps of lips and lids."""

    step: int
    landmarks_px: float
    openings_px: float


def train_keypoints(
    detector: KeypointDetector,
    pairs: PairSource,
    config: KeypointStart,
    device: torch.device,
    report: Callable[[KeypointFigures], None] = lambda _: None,
    *,
    every: int = 100,
) -> None:
    """Train ``detector`` in place on ``device``; ``pairs`` come with landmarks. Figures of every ``every``-th step.

    Raises ConfigError for a detector of fewer keypoints than there are landmarks.
    """
    require(detector.logits.out_channels >= len(FacePoint), f"a model of at least {len(FacePoint)} keypoints is needed")
    detector.train()
    optimizer = torch.optim.Adam(detector.parameters(), lr=config.rate, betas=(0.9, 0.99))
    for step in range(1, config.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = config.rate_at(step)
        images, points = _stacked(pairs.next_batch(config.batch))
        size = images.shape[-1]
        warp = warps_for(config.seed, step, slice(None), len(images), device)
        found: Keypoints = detector(images)
        moved: Keypoints = detector(warp.warp_frame(images))
        landmarks, openings = landmark_loss(found, points, size), opening_loss(found, points, size)
        held = equivariance_value_loss(found, moved, warp) + equivariance_jacobian_loss(found, moved, warp)
        loss = config.landmarks * landmarks + config.openings * openings + config.equivariance * held
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        if step % every == 0:
            report(KeypointFigures(step, *(_pixels(each, size) for each in (landmarks, openings))))
    detector.eval()


@torch.no_grad()
def held_out_figures(
    detector: KeypointDetector, images: Float[Tensor, "n 3 h w"], points: Float[Tensor, "n points 2"], *, step: int = 0
) -> KeypointFigures:
    """Figures on other pictures, those without a face left out, with the detector as it is used."""
    known = torch.isfinite(points).all(dim=2).all(dim=1)
    images, points, size = images[known], points[known], images.shape[-1]
    training = detector.training
    detector.eval()
    parts = [detector(part) for part in images.split(64)]
    detector.train(training)
    found = Keypoints(
        position=torch.cat([part.position for part in parts]), jacobian=torch.cat([part.jacobian for part in parts])
    )
    losses = (loss(found, points, size) for loss in (landmark_loss, opening_loss))
    return KeypointFigures(step, *(_pixels(loss, size) for loss in losses))


def _stacked(batch: PairBatch) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n points 2"]]:
    """Both frames of every pair, the one after the other."""
    assert batch.source_points is not None
    assert batch.driving_points is not None
    return torch.cat([batch.source, batch.driving]), torch.cat([batch.source_points, batch.driving_points])


def _pixels(loss: Tensor, size: int) -> float:
    return float(loss.detach()) * (size - 1) / 2
