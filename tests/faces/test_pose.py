from __future__ import annotations

import numpy as np
import pytest

from synhead.faces.pose import _REFERENCE, REFERENCE_POINTS, HeadPose, head_pose, pose_difference_deg


def turned(yaw: float, pitch: float, roll: float) -> tuple[np.ndarray, np.ndarray]:
    """A mesh whose rigid points are the reference face, turned, scaled and shifted; the other points are noise."""
    y, p, r = np.deg2rad([-yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    mesh = np.random.default_rng(0).normal(size=(478, 3))
    mesh[list(REFERENCE_POINTS)] = _REFERENCE @ (about_y @ about_x @ about_z).T * 80 + [120, 90, 5]
    return mesh[:, :2], mesh[:, 2]


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, -20, 0), (0, 0, 45), (-40, 15, -10), (60, -30, 100)])
def test_angles_come_back(angles):
    pose = head_pose(*turned(*angles))
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx(angles, abs=1e-6)


def test_signs():
    """Turned to the right of the picture, the nose tip moves right of the eyes' middle; looking down, it moves down."""
    straight, right, down, tilted = (turned(*a)[0] for a in [(0, 0, 0), (30, 0, 0), (0, 30, 0), (0, 0, 30)])
    nose = 4
    assert right[nose][0] > straight[nose][0] + 10
    assert down[nose][1] > straight[nose][1] + 10
    assert tilted[263][1] > tilted[33][1] + 10  # clockwise: the right end of the eye line drops


def test_degenerate_points_give_a_finite_pose():
    pose = head_pose(np.zeros((478, 2)), np.zeros(478))
    assert all(np.isfinite([pose.yaw, pose.pitch, pose.roll]))


def test_difference_goes_the_short_way():
    assert pose_difference_deg(HeadPose(0.0, 0.0, 179.0), HeadPose(3.0, 0.0, -178.0)) == pytest.approx(2)
