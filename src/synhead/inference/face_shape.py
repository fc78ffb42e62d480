"""What a face looks like to the search for a reference frame: shape, pose, and how far mouth and eyes are open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.pose import HeadPose
from synhead.inference.motion_transfer import hull_area
from synhead.types import NDArray

POINTS = 468
"""Without irises, which some models do not have."""

# Landmarks as (upper, lower, one corner, other corner).
_MOUTH = (13, 14, 78, 308)
_EYES = ((159, 145, 33, 133), (386, 374, 263, 362))

# Ten degrees, a quarter of a mouth's width of opening, or a fifth of an eye's, count as much as each other.
_POSE_WEIGHT = 0.1 / math.radians(10) ** 2 / 3
_MOUTH_WEIGHT = 0.1 / 0.25**2 / 3
_EYES_WEIGHT = 0.1 / 0.2**2 / 3
_SHAPE_WEIGHT = 0.1 / 0.05**2
"""Landmarks that lie apart by a twentieth of the face's size count as much as all of these three together."""


@dataclass(frozen=True, slots=True)
class Openings:
    """How far mouth and eyes (mean of both) are open: height over width of the opening, 0 when closed."""

    mouth: float
    eyes: float


@dataclass(frozen=True, slots=True)
class FaceShape:
    """``points``: landmarks about their mean in units of the square root of their hull's area."""

    points: Float[NDArray[Any], "n 2"]
    pose: HeadPose | None
    openings: Openings


def face_shape(landmarks: FaceLandmarks) -> FaceShape:
    """Spec E's normalisation, with pose and openings. Coincident landmarks have no shape and stay unscaled."""
    points = landmarks.points_px[:POINTS].astype(np.float64)
    size = math.sqrt(hull_area(torch.from_numpy(points))) or 1.0
    return FaceShape((points - points.mean(axis=0)) / size, landmarks.pose, openings(landmarks))


def openings(landmarks: FaceLandmarks) -> Openings:
    """Measured on the inner lips and on the lids."""
    eyes = sum(_ratio(landmarks.points_px, eye) for eye in _EYES) / len(_EYES)
    return Openings(mouth=_ratio(landmarks.points_px, _MOUTH), eyes=eyes)


def shape_difference(first: FaceShape, second: FaceShape) -> float:
    """Spec E's mean squared distance of landmarks, plus pose and expression, which few of the points show.

    0 for equal faces, about 0.1 for a turn of ten degrees on all three axes or an open instead of a closed mouth.
    """
    between = _SHAPE_WEIGHT * float(np.mean(np.sum((first.points - second.points) ** 2, axis=1)))
    mouth = first.openings.mouth - second.openings.mouth
    eyes = first.openings.eyes - second.openings.eyes
    between += _MOUTH_WEIGHT * mouth**2 + _EYES_WEIGHT * eyes**2
    turn = pose_change(first.pose, second.pose)
    if turn is not None:
        between += _POSE_WEIGHT * sum(math.radians(angle) ** 2 for angle in (turn.yaw, turn.pitch, turn.roll)) / 3
    return between


def pose_change(before: HeadPose | None, after: HeadPose | None) -> HeadPose | None:
    """``after`` minus ``before``, each angle the short way round; None if either is unknown."""
    if before is None or after is None:
        return None
    pairs = ((after.yaw, before.yaw), (after.pitch, before.pitch), (after.roll, before.roll))
    yaw, pitch, roll = ((a - b + 180.0) % 360.0 - 180.0 for a, b in pairs)
    return HeadPose(yaw=yaw, pitch=pitch, roll=roll)


def _ratio(points: Float[NDArray[Any], "n 2"], marks: tuple[int, int, int, int]) -> float:
    upper, lower, left, right = (points[mark] for mark in marks)
    width = float(np.linalg.norm(right - left))
    return float(np.linalg.norm(lower - upper)) / width if width > 0 else 0.0
