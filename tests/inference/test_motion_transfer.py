import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from synhead.inference.motion_transfer import hull_area, matrix_power, movement_scale, transfer_motion
from synhead.types import Keypoints
from tests.inference.conftest import keypoints


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


def test_multiplier_one_changes_no_bit():
    source, driving, reference = keypoints(1, 0), keypoints(4, 1), keypoints(1, 2)
    plain = transfer_motion(source, driving, reference, scale=0.9)
    once = transfer_motion(source, driving, reference, scale=0.9, multiplier=1.0)
    assert torch.equal(plain.position, once.position)
    assert torch.equal(plain.jacobian, once.jacobian)


def test_multiplier_zero_holds_the_portrait_still():
    source, driving, reference = keypoints(1, 0), keypoints(4, 1), keypoints(1, 2)
    still = transfer_motion(source, driving, reference, multiplier=0.0)
    torch.testing.assert_close(still.position, source.position.expand(4, -1, -1))
    torch.testing.assert_close(still.jacobian, source.jacobian.expand(4, -1, -1, -1))


def test_multiplier_doubles_movements_and_turns():
    turn = 0.4
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    reference = keypoints(1, 0)
    driving = Keypoints(position=reference.position + 0.1, jacobian=1.1 * rotation @ reference.jacobian)
    moved = transfer_motion(reference, driving, reference, scale=0.5, multiplier=2.0)
    torch.testing.assert_close(moved.position, reference.position + 0.1)
    torch.testing.assert_close(moved.jacobian, 1.21 * rotation @ rotation @ reference.jacobian, rtol=1e-4, atol=1e-5)


entries = st.floats(-3, 3, allow_nan=False, width=32)
exponents = st.floats(0, 5, allow_nan=False)


@given(st.tuples(entries, entries, entries, entries), exponents)
@example((0.0, 1.0, -8.40874783483783e-22, 0.0), 0.5)  # a complex pair that is almost zero
@example((-1.0, 1.0, -1e-20, -1.0), 0.5)  # and one that is almost negative
@settings(max_examples=200, deadline=None)
def test_matrix_powers(values, exponent):
    """Against an eigendecomposition where there is a real power, against interpolation where there is none."""
    matrix = torch.tensor(values, dtype=torch.float64).reshape(2, 2)
    found = matrix_power(matrix, exponent)
    assert found.isfinite().all()
    eigenvalues, vectors = np.linalg.eig(matrix.numpy().astype(complex))
    distance = np.where(eigenvalues.real < 0, np.abs(eigenvalues.imag), np.abs(eigenvalues)).min()
    if distance < 1e-9:
        torch.testing.assert_close(found, torch.eye(2) + exponent * (matrix - torch.eye(2, dtype=torch.float64)))
    elif np.linalg.cond(vectors) < 1e3 and distance > 1e-3:
        wanted = vectors @ np.diag(eigenvalues**exponent) @ np.linalg.inv(vectors)
        np.testing.assert_allclose(found.numpy(), wanted.real, rtol=1e-6, atol=1e-6 * max(1, np.abs(wanted).max()))


def test_matrix_power_of_equal_eigenvalues():
    shear = torch.tensor([[1.0, 0.3], [0.0, 1.0]])
    torch.testing.assert_close(matrix_power(shear, 2.5), torch.tensor([[1.0, 0.75], [0.0, 1.0]]))
    torch.testing.assert_close(matrix_power(4 * torch.eye(2), 0.5), 2 * torch.eye(2))


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_halves_and_wholes(exponent):
    """Powers of the same matrix add up."""
    matrix = torch.linalg.matrix_exp(0.5 * torch.randn(50, 2, 2, generator=torch.Generator().manual_seed(1)))
    together = matrix_power(matrix, exponent) @ matrix_power(matrix, 1.5)
    torch.testing.assert_close(together, matrix_power(matrix, exponent + 1.5), rtol=1e-3, atol=1e-3)
