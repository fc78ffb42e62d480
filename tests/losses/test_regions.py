from __future__ import annotations

import pytest
import torch

from synhead.geometry.grid import coordinate_grid
from synhead.losses.regions import FacePoints, face_regions, landmark_flow_loss, landmark_loss, opening_loss
from synhead.types import FacePoint, Keypoints, Motion


def a_face() -> torch.Tensor:
    """Points of one face, edge to edge in [-1, 1]."""
    points = torch.zeros(1, len(FacePoint), 2)
    for name, place in {
        "MOUTH_LEFT": (-0.2, 0.4), "MOUTH_RIGHT": (0.2, 0.4), "UPPER_LIP": (0.0, 0.375), "LOWER_LIP": (0.0, 0.425),
        "LEFT_EYE_CORNER": (-0.4, -0.2), "LEFT_UPPER_LID": (-0.25, -0.225), "LEFT_LOWER_LID": (-0.25, -0.175),
        "RIGHT_EYE_CORNER": (0.4, -0.2), "RIGHT_UPPER_LID": (0.25, -0.225), "RIGHT_LOWER_LID": (0.25, -0.175),
        "CHIN": (0.0, 0.8),
    }.items():  # fmt: skip
        points[0, FacePoint[name]] = torch.tensor(place)
    return points


def keypoints(position: torch.Tensor) -> Keypoints:
    return Keypoints(position=position, jacobian=torch.eye(2).expand(*position.shape, 2))


def test_keypoints_on_the_landmarks_cost_nothing() -> None:
    points = a_face()
    places = torch.cat([points, torch.rand(1, 3, 2)], 1) * (256 / 255)  # three more keypoints are free
    assert float(landmark_loss(keypoints(places), points, 256)) == pytest.approx(0.0, abs=1e-6)


def test_the_loss_is_the_mean_distance_over_known_points() -> None:
    points = a_face()
    points[0, FacePoint.CHIN] = torch.nan
    position = (a_face() * (64 / 63) + 0.1).requires_grad_()
    loss = landmark_loss(keypoints(position), points, 64)
    loss.backward()
    assert loss.item() == pytest.approx(0.1 * 11 / 12, rel=1e-4)
    assert position.grad is not None
    assert float(position.grad[0, FacePoint.CHIN].abs().sum()) == 0
    assert bool((position.grad[0, : FacePoint.CHIN] > 0).all())


def test_fewer_keypoints_than_landmarks() -> None:
    assert float(landmark_loss(keypoints(a_face()[:, :5] * (64 / 63)), a_face(), 64)) == pytest.approx(0, abs=1e-6)


def test_openings_are_compared_wherever_the_face_is() -> None:
    points = a_face()
    elsewhere = keypoints((points + 0.3) * (256 / 255))
    assert float(opening_loss(elsewhere, points, 256)) == pytest.approx(0.0, abs=1e-6)
    wider = a_face()
    wider[0, FacePoint.UPPER_LIP, 1] -= 0.06
    # one of three gaps, in one of two coordinates
    assert float(opening_loss(keypoints(wider), points, 10**6)) == pytest.approx(0.06 / 6, rel=1e-3)
    points[0, FacePoint.LOWER_LIP] = torch.nan
    assert float(opening_loss(keypoints(wider), points, 10**6)) == pytest.approx(0.0, abs=1e-6)


def shift(x: float, y: float) -> Motion:
    """A flow that reads everything from so much further right and down."""
    grid = coordinate_grid(16, 16, torch.zeros(()))[None] + torch.tensor([x, y])
    return Motion(grid=grid.requires_grad_(), visibility=torch.ones(1, 1, 16, 16))


def test_a_flow_that_points_to_the_sources_landmarks_costs_nothing() -> None:
    size, source = 64, a_face()
    driving = source - torch.tensor([0.1, -0.05])
    moved = torch.tensor([0.1, -0.05]) * (size / (size - 1))
    right = landmark_flow_loss(shift(*moved.tolist()), FacePoints(source, driving), size)
    assert float(right) == pytest.approx(0.0, abs=1e-6)
    still = shift(0.0, 0.0)
    wrong = landmark_flow_loss(still, FacePoints(source, driving), size)
    assert float(wrong) == pytest.approx(float(moved.abs().mean()), rel=1e-4)
    wrong.backward()
    assert still.grid.grad is not None
    assert float(still.grid.grad.abs().sum()) > 0


def test_landmarks_outside_the_picture_or_unknown_do_not_count() -> None:
    source, driving = a_face(), a_face()
    driving[0, FacePoint.CHIN, 1] = 1.5
    source[0, FacePoint.NOSE] = torch.nan
    loss = landmark_flow_loss(shift(0.2, 0.2), FacePoints(source, driving), 10**6)
    assert float(loss) == pytest.approx(0.2 * 10 / 12, rel=1e-4)


def test_regions_lie_on_mouth_and_eyes() -> None:
    ramp = torch.linspace(-1, 1, 128)
    image = torch.stack([ramp.expand(128, 128), ramp[:, None].expand(128, 128), torch.ones(128, 128)])[None]
    crops = face_regions(image, a_face(), 16)
    assert crops.shape == (3, 3, 16, 16)
    centres = crops[:, :2].mean((2, 3))
    torch.testing.assert_close(centres, torch.tensor([[0.0, 0.4], [-0.3, -0.2], [0.3, -0.2]]), atol=0.01, rtol=0)
    width = crops[0, 0, 0, -1] - crops[0, 0, 0, 0]
    assert float(width) == pytest.approx(0.45 * 0.8 * 2 * 15 / 16, rel=0.02)


def test_unknown_faces_are_black_and_without_gradient() -> None:
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    points = torch.cat([a_face(), torch.full_like(a_face(), torch.nan)])
    crops = face_regions(image, points, 8)
    assert float(crops[1::2].abs().sum()) == 0
    crops.sum().backward()
    assert image.grad is not None
    assert float(image.grad[1].abs().sum()) == 0
    assert float(image.grad[0].abs().sum()) > 0
