"""Face metrics of two sets of landmarks (mediapipe's 478 points), one value a pair; averaging is the caller's.

They are not the AKD of papers, which takes the 68 points of another network: name them as they are named here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.pose import pose_difference_deg
from synhead.types import NDArray

Points = Float[NDArray[Any], "n 2"]

_LIPS_INNER, _MOUTH_CORNERS = (13, 14), (61, 291)
_RIGHT_LIDS, _LEFT_LIDS, _OUTER_EYE_CORNERS = (159, 145), (386, 374), (33, 263)


@dataclass(frozen=True, slots=True)
class FaceErrors:
    """How far one face is from another: points in pixels, openings as differences of ratios, pose in degrees."""

    landmark_distance_px: float
    mouth_opening: float
    eye_opening: float
    pose_deg: float


def compare_faces(generated: FaceLandmarks, driving: FaceLandmarks) -> FaceErrors:
    """All four figures. ``pose_deg`` is NaN where an analyzer gave no pose."""
    pose = math.nan
    if generated.pose is not None and driving.pose is not None:
        pose = pose_difference_deg(generated.pose, driving.pose)
    return FaceErrors(
        landmark_distance_px=landmark_distance_px(generated.points_px, driving.points_px),
        mouth_opening=abs(mouth_opening(generated.points_px) - mouth_opening(driving.points_px)),
        eye_opening=abs(eye_opening(generated.points_px) - eye_opening(driving.points_px)),
        pose_deg=pose,
    )


def landmark_distance_px(first: Points, second: Points) -> float:
    """Mean absolute difference over all coordinates (an L1 mean, as AKD is), in the pixels the points are in."""
    return float(np.mean(np.abs(first.astype(np.float64) - second.astype(np.float64))))


def mouth_opening(points: Points) -> float:
    """|13 - 14| / |61 - 291|: gap between the inner lips over the mouth's width."""
    return _distance(points, _LIPS_INNER) / max(_distance(points, _MOUTH_CORNERS), 1e-6)


def eye_opening(points: Points) -> float:
    """(|159 - 145| + |386 - 374|) / |33 - 263|: gaps of both eyes over the distance of the outer eye corners."""
    gaps = _distance(points, _RIGHT_LIDS) + _distance(points, _LEFT_LIDS)
    return gaps / max(_distance(points, _OUTER_EYE_CORNERS), 1e-6)


def _distance(points: Points, pair: tuple[int, int]) -> float:
    return float(np.linalg.norm(points[pair[0]].astype(np.float64) - points[pair[1]]))
