import math

import numpy as np
import pytest
import torch

from synhead.inference.motion_transfer import hull_area, movement_scale, transfer_motion
from synhead.types import Keypoints


def keypoints(batch: int, seed: int, count: int = 15) -> Keypoints:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, count, 2, 2, generator=generator) * 0.2
    return Keypoints(position=torch.rand(batch, count, 2, generator=generator) - 0.5, jacobian=torch.eye(2) + noise)


def test_the_reference_pose_gives_the_source_back():
    source, reference = keypoints(1, 0), keypoints(1, 1)
    moved = transfer_motion(source, reference, reference, scale=0.7)
    torch.testing.assert_close(moved.position, source.position)
    torch.testing.assert_close(moved.jacobian, source.jacobian, rtol=1e-4, atol=1e-5)


def test_the_equations():
    source, driving, reference, scale = keypoints(1, 0), keypoints(3, 1), keypoints(1, 2), 1.6
    moved = transfer_motion(source, driving, reference, scale=scale)
    for b in range(3):
        for k in range(15):
            step = scale * (driving.position[b, k] - reference.position[0, k])
            torch.testing.assert_close(moved.position[b, k], source.position[0, k] + step)
            change = driving.jacobian[b, k].numpy() @ np.linalg.inv(reference.jacobian[0, k].numpy())
            np.testing.assert_allclose(
                moved.jacobian[b, k].numpy(), change @ source.jacobian[0, k].numpy(), rtol=1e-3, atol=1e-4
            )


def test_a_singular_jacobian_does_not_stop_the_video():
    reference = Keypoints(position=torch.zeros(1, 15, 2), jacobian=torch.zeros(1, 15, 2, 2))
    assert transfer_motion(keypoints(1, 0), keypoints(2, 1), reference).position.shape == (2, 15, 2)


@pytest.mark.parametrize("corners", [3, 4, 5, 12])
def test_hull_of_a_regular_polygon_with_points_inside(corners):
    angle = torch.arange(corners) * (2 * math.pi / corners)
    ring = torch.stack([angle.cos(), angle.sin()], dim=-1)
    inside = ring * 0.3
    points = torch.cat([inside, ring, ring[:2], ring.mean(0, keepdim=True)])
    shuffled = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))]
    assert hull_area(shuffled) == pytest.approx(corners / 2 * math.sin(2 * math.pi / corners), rel=1e-5)


def test_hull_of_a_square_with_points_on_its_sides():
    points = torch.tensor([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [0, 2], [0, 1]], dtype=torch.float32)
    assert hull_area(points) == 4


@pytest.mark.parametrize("points", [[[0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]])
def test_lines_and_points_have_no_area(points):
    assert hull_area(torch.tensor(points)) == 0


def test_movement_scale_is_the_ratio_of_sizes():
    source = keypoints(1, 0)
    larger = Keypoints(position=source.position * 2.5 + 0.1, jacobian=source.jacobian)
    assert movement_scale(source, larger) == pytest.approx(1 / 2.5, rel=1e-4)
    assert movement_scale(larger, source) == pytest.approx(2.5, rel=1e-4)


def test_collapsed_keypoints_do_not_scale():
    source = keypoints(1, 0)
    collapsed = Keypoints(position=torch.zeros_like(source.position), jacobian=source.jacobian)
    assert movement_scale(source, collapsed) == movement_scale(collapsed, source) == 1.0
