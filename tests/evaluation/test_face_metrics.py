from __future__ import annotations

import math

import numpy as np
import pytest

from synhead.evaluation.face_metrics import compare_faces, eye_opening, landmark_distance_px, mouth_opening
from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.boxes import bounding_box
from synhead.faces.pose import HeadPose


def face(points: np.ndarray, pose: HeadPose | None = None) -> FaceLandmarks:
    return FaceLandmarks(points, np.zeros(len(points)), bounding_box(points), 1.0, pose)


@pytest.fixture
def points():
    points = np.random.default_rng(0).uniform(0, 256, (478, 2))
    named = {13: (100, 150), 14: (100, 160), 61: (80, 155), 291: (120, 155), 159: (70, 80), 145: (70, 90)}
    named |= {386: (130, 80), 374: (130, 86), 33: (60, 85), 263: (140, 85)}
    for index, place in named.items():
        points[index] = place
    return points


def test_openings_are_ratios(points):
    assert mouth_opening(points) == pytest.approx(10 / 40)
    assert eye_opening(points) == pytest.approx((10 + 6) / 80)
    assert mouth_opening(points * 3) == pytest.approx(mouth_opening(points))
    assert mouth_opening(np.zeros((478, 2))) == 0


def test_distance_is_a_mean_over_coordinates(points):
    assert landmark_distance_px(points, points + np.array([3.0, -1.0])) == pytest.approx(2)


def test_compare(points):
    moved = points.copy()
    moved[14] = (100, 150)
    moved[145] = (70, 80)
    errors = compare_faces(face(moved, HeadPose(3.0, 0.0, 0.0)), face(points, HeadPose(0.0, 0.0, 0.0)))
    assert errors.landmark_distance_px == pytest.approx(20 / 956)
    assert errors.mouth_opening == pytest.approx(0.25)
    assert errors.eye_opening == pytest.approx(0.125)
    assert errors.pose_deg == pytest.approx(1)
    assert math.isnan(compare_faces(face(moved), face(points)).pose_deg)
