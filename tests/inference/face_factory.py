"""Made-up landmarks: a fixed cloud of points with a mouth and two eyes that open as told."""

from __future__ import annotations

import numpy as np

from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.boxes import bounding_box
from synhead.faces.pose import HeadPose

MOUTH = (13, 14, 78, 308)
EYES = ((159, 145, 33, 133), (386, 374, 263, 362))
CENTRES = ((0.0, 60.0), (-40.0, -30.0), (40.0, -30.0))
WIDTHS = (60.0, 30.0, 30.0)


def face(
    *, mouth: float = 0.0, eyes: float = 0.3, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, count: int = 478
) -> FaceLandmarks:
    """Pose changes the angles only, so that each term of a difference can be seen alone; roll turns the points too."""
    points = np.random.default_rng(0).uniform(-100, 100, (478, 2))[:count]
    for marks, opening, (x, y), width in zip((MOUTH, *EYES), (mouth, eyes, eyes), CENTRES, WIDTHS, strict=True):
        half = opening * width / 2
        points[list(marks)] = [(x, y - half), (x, y + half), (x - width / 2, y), (x + width / 2, y)]
    turn = np.radians(roll)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return landmarks(points, HeadPose(yaw=yaw, pitch=pitch, roll=roll))


def landmarks(points: np.ndarray, pose: HeadPose | None) -> FaceLandmarks:
    points_px = (points + 300).astype(np.float32)
    return FaceLandmarks(points_px, np.zeros(len(points_px), dtype=np.float32), bounding_box(points_px), 1.0, pose)
