"""Head pose from three-dimensional landmarks: the rotation that best turns a reference face into the measured one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from synhead.types import NDArray

REFERENCE_POINTS = (
    *(33, 263, 133, 362, 127, 356, 234, 454, 54, 284, 129, 358, 50, 280),
    *(10, 151, 9, 168, 6, 197, 195, 5, 4, 1),
)
"""Landmarks that speech and blinking hardly move: eye corners, temples, cheeks, forehead and nose."""

_PAIRS = (
    (0.500, -0.064, 0.062),
    (0.197, -0.051, 0.000),
    (0.784, 0.029, 0.608),
    (0.776, 0.195, 0.644),
    (0.663, -0.436, 0.259),
    (0.231, 0.349, -0.144),
    (0.535, 0.310, -0.034),
)
_MIDLINE = (
    (0.0, -0.661, -0.077),
    (0.0, -0.491, -0.133),
    (0.0, -0.312, -0.178),
    (0.0, -0.126, -0.176),
    (0.0, -0.039, -0.232),
    (0.0, 0.038, -0.294),
    (0.0, 0.109, -0.360),
    (0.0, 0.185, -0.429),
    (0.0, 0.279, -0.464),
    (0.0, 0.355, -0.448),
)
# Mean of the face meshes of 571 pictures after Procrustes alignment, made symmetric; the unit is the distance of the
# outer eye corners, x right, y down, z away from the camera. Forehead (10) and chin (152) are equally deep at pitch 0.
_REFERENCE = np.array([p for x, y, z in _PAIRS for p in ((-x, y, z), (x, y, z))] + list(_MIDLINE), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Euler angles in degrees: the head is turned by roll, then pitch, then yaw, seen from the camera.

    ``yaw``: positive towards the right edge of the picture. ``pitch``: positive looks down. ``roll``: positive tilts
    clockwise in the picture. All zero looks into the camera.
    """

    yaw: float
    pitch: float
    roll: float


def head_pose(points_px: Float[NDArray[Any], "n 2"], depth_px: Float[NDArray[Any], " n"]) -> HeadPose:
    """Pose by orthogonal Procrustes under weak perspective (scale, rotation, shift).

    ``points_px``: the 468 or 478 points of the face mesh. ``depth_px``: their depth in the same unit, away from the
    camera positive. Flat or coincident points give a meaningless but finite pose.
    """
    chosen = list(REFERENCE_POINTS)
    measured = np.column_stack([points_px[chosen], depth_px[chosen]]).astype(np.float64)
    return _euler(_rotation(_REFERENCE, measured))


def pose_difference_deg(first: HeadPose, second: HeadPose) -> float:
    """Mean absolute difference of the three angles, each taken the short way round."""
    pairs = ((first.yaw, second.yaw), (first.pitch, second.pitch), (first.roll, second.roll))
    return sum(abs((a - b + 180.0) % 360.0 - 180.0) for a, b in pairs) / 3


def _rotation(
    reference: Float[NDArray[Any], "k 3"], measured: Float[NDArray[Any], "k 3"]
) -> Float[NDArray[Any], "3 3"]:
    """Kabsch: the proper rotation R with R @ reference closest to the measured points, both centred."""
    covariance = (reference - reference.mean(axis=0)).T @ (measured - measured.mean(axis=0))
    left, _, right = np.linalg.svd(covariance)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    return np.asarray((left @ flip @ right).T)


def _euler(rotation: Float[NDArray[Any], "3 3"]) -> HeadPose:
    """R = R_y(-yaw) R_x(pitch) R_z(roll), axes x right, y down, z away from the camera."""
    pitch = math.asin(float(np.clip(-rotation[1, 2], -1.0, 1.0)))
    yaw = math.atan2(-float(rotation[0, 2]), float(rotation[2, 2]))
    roll = math.atan2(float(rotation[1, 0]), float(rotation[1, 1]))
    return HeadPose(yaw=math.degrees(yaw), pitch=math.degrees(pitch), roll=math.degrees(roll))
