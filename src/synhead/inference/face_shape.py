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

POINT_STEP = 2.0**-13
"""Points are whole multiples, within 16 bits: a template keeps exactly the numbers that its clip is compared by."""
_STEPS = np.iinfo(np.int16)

# Landmarks as (upper, lower, one corner, other corner).
_MOUTH = (13, 14, 78, 308)
_EYES = ((159, 145, 33, 133), (386, 374, 263, 362))

SHAPE_UNIT = 0.05
"""Landmarks that lie apart by a twentieth of the face's size count 1: as much as all three of the following."""
POSE_UNIT_RAD = math.radians(10)
MOUTH_UNIT = 0.25
EYES_UNIT = 0.2


@dataclass(frozen=True, slots=True)
class Openings:
    """How far mouth and eyes (mean of both) are open: height over width of the opening, 0 when closed."""

    mouth: float
    eyes: float


@dataclass(frozen=True, slots=True)
class FaceShape:
    """``points``: landmarks about their mean in units of the square root of their hull's area, see POINT_STEP."""

    points: Float[NDArray[Any], "n 2"]
    pose: HeadPose | None
    openings: Openings


def face_shape(landmarks: FaceLandmarks) -> FaceShape:
    """Spec E's normalisation, with pose and openings. Coincident landmarks have no shape and stay unscaled."""
    points = landmarks.points_px[:POINTS].astype(np.float64)
    size = math.sqrt(hull_area(torch.from_numpy(points))) or 1.0
    steps = np.rint((points - points.mean(axis=0)) / (size * POINT_STEP)).clip(_STEPS.min, _STEPS.max)
    return FaceShape(steps * POINT_STEP, landmarks.pose, openings(landmarks))


def openings(landmarks: FaceLandmarks) -> Openings:
    """Measured on the inner lips and on the lids."""
    eyes = sum(_ratio(landmarks.points_px, eye) for eye in _EYES) / len(_EYES)
    return Openings(mouth=_ratio(landmarks.points_px, _MOUTH), eyes=eyes)


def shape_difference(first: FaceShape, second: FaceShape) -> float:
    """Spec E's mean squared distance of landmarks, plus pose and expression, which few of the points show.

    0 for equal faces, 1 for landmarks that are one SHAPE_UNIT apart, or if pose, mouth and eyes all differ by one unit.
    """
    shape = float(np.mean(np.sum((first.points - second.points) ** 2, axis=1)))
    mouth = first.openings.mouth - second.openings.mouth
    eyes = first.openings.eyes - second.openings.eyes
    rest = (mouth / MOUTH_UNIT) ** 2 + (eyes / EYES_UNIT) ** 2
    turn = pose_change(first.pose, second.pose)
    if turn is not None:
        rest += sum((math.radians(angle) / POSE_UNIT_RAD) ** 2 for angle in (turn.yaw, turn.pitch, turn.roll)) / 3
    return shape / SHAPE_UNIT**2 + rest / 3


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
