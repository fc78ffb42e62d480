"""Wider or narrower openings of mouth and eyes, as far as unsupervised keypoints allow.

No keypoint is a lip or a lid. But over a clip one can measure, by landmarks, how far mouth and eyes are open, and find
by linear regression what the keypoints do when they open: their response. That component of the motion can then be made
larger or smaller. What keypoints do not show cannot be found, what never varies in the clip cannot be learnt from it,
and what always varies together (a nod with each syllable) is told apart only by the head's pose as further regressors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from synhead.config import ConfigError
from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.pose import HeadPose
from synhead.inference.face_shape import Openings, openings
from synhead.types import Keypoints

MIN_FRAMES = 30
MIN_VARIATION = 0.02
"""Standard deviation of an opening, beyond what the other regressors explain, below which nothing can be learnt."""
MIN_SHARE = 0.1
"""A response that explains less of every keypoint's remaining movement is noise."""
MAX_STRENGTH = 3.0
REGRESSORS = 5
"""Mouth, eyes, yaw, pitch, roll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strengths:
    """How large the components of motion become: 1 as driven, 0 none, 2 twice as large."""

    mouth: float = 1.0
    eyes: float = 1.0

    def __post_init__(self) -> None:
        for what, strength in (("mouth", self.mouth), ("eyes", self.eyes)):
            if not 0 <= strength <= MAX_STRENGTH:
                raise ConfigError(f"strength of the {what} {strength} must be from 0 to {MAX_STRENGTH:g}")


class Shares(NamedTuple):
    """Share of a keypoint's remaining movement that an opening explains, of the keypoint that follows it best."""

    mouth: float
    eyes: float


@dataclass(frozen=True, slots=True)
class Response:
    """What keypoints do for each unit of opening; first mouth, then eyes. All zero where nothing could be learnt."""

    position: Float[Tensor, "2 k 2"]
    jacobian: Float[Tensor, "2 k 2 2"]
    shares: Shares

    @property
    def unusable(self) -> tuple[str, ...]:
        """Names of the openings that the keypoints of this clip do not follow; to be told to the user."""
        return tuple(name for name, share in self.shares._asdict().items() if share == 0.0)


@dataclass(frozen=True, slots=True)
class FaceMeasure:
    """Openings and pose of one driving frame."""

    openings: Openings
    pose: HeadPose | None

    @classmethod
    def of(cls, face: FaceLandmarks) -> FaceMeasure:
        """Measured on landmarks."""
        return cls(openings(face), face.pose)


class ResponseFit:
    """Least squares over a clip in one pass; memory does not grow with it (sums of products)."""

    def __init__(self) -> None:
        self._products: Tensor | None = None

    def add(self, motion: Keypoints, faces: Iterable[FaceMeasure | None]) -> None:
        """A batch of keypoints with the face measured in each frame; frames without one are left out."""
        rows = [
            torch.cat([torch.tensor([1.0, *_regressors(face)], dtype=torch.float64), _targets(motion, i)])
            for i, face in enumerate(faces)
            if face is not None
        ]
        if rows:
            table = torch.stack(rows)
            products = table.T @ table
            self._products = products if self._products is None else self._products + products

    def solve(self) -> Response:
        """The response. Zero for an opening that varies too little, or that the keypoints do not follow."""
        if self._products is None or self._products[0, 0] < MIN_FRAMES:
            raise ConfigError(
                f"to change movements of mouth and eyes takes a driver with {MIN_FRAMES} frames that show a face; "
                "leave --mouth and --eyes at 1, or give a longer clip"
            )
        count = self._products[0, 0]
        means = self._products[0, 1:] / count
        covariance = self._products[1:, 1:] / count - torch.outer(means, means)
        responses, shares = zip(*(_partial(covariance, which) for which in range(2)), strict=True)
        response = torch.stack(responses).reshape(2, -1, 6).float()
        return Response(response[..., :2], response[..., 2:].unflatten(-1, (2, 2)), Shares(*shares))


def retarget(
    motion: Keypoints, faces: Iterable[Openings], rest: Openings, response: Response, strengths: Strengths
) -> Keypoints:
    """A batch of the driver's keypoints with larger or smaller openings.

    ``faces``: the openings of each frame (of the one before where there is no face). ``rest``: those of the reference
    frame, which stays as it is.
    """
    opened = torch.tensor([[face.mouth - rest.mouth, face.eyes - rest.eyes] for face in faces], dtype=torch.float32)
    weights = opened * torch.tensor([strengths.mouth - 1, strengths.eyes - 1])
    return Keypoints(
        position=motion.position + _weighted(weights, response.position).to(motion.position.device),
        jacobian=motion.jacobian + _weighted(weights, response.jacobian).to(motion.jacobian.device),
    )


def _weighted(weights: Tensor, response: Tensor) -> Tensor:
    return torch.tensordot(weights, response, dims=1)


def _regressors(face: FaceMeasure) -> tuple[float, ...]:
    pose = face.pose or HeadPose(0.0, 0.0, 0.0)
    return face.openings.mouth, face.openings.eyes, pose.yaw, pose.pitch, pose.roll


def _targets(motion: Keypoints, index: int) -> Tensor:
    """Position and Jacobian of every keypoint: (k 6), flat."""
    return torch.cat([motion.position[index], motion.jacobian[index].flatten(1)], dim=1).double().cpu().flatten()


def _partial(covariance: Tensor, which: int) -> tuple[Tensor, float]:
    """The coefficients of one regressor with all others held, and its share of what these leave unexplained."""
    others = [i for i in range(REGRESSORS) if i != which]
    solved = torch.linalg.pinv(covariance[others][:, others], rtol=1e-10, hermitian=True) @ covariance[others]
    rest = covariance - covariance[:, others] @ solved
    variance = float(rest[which, which])
    targets = rest[which, REGRESSORS:]
    none = torch.zeros_like(targets), 0.0
    if variance < MIN_VARIATION**2:
        return none
    coefficients = targets / variance
    explained = (coefficients * targets).reshape(-1, 6)[:, :2].sum(dim=1)
    left = rest.diagonal()[REGRESSORS:].reshape(-1, 6)[:, :2].sum(dim=1)
    share = float((explained / left.clamp(min=1e-12)).max())
    return (coefficients, share) if share >= MIN_SHARE else none
