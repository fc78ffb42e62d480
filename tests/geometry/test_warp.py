"""Units and conventions of flows."""

from __future__ import annotations

import pytest
import torch

from synhead.geometry.grid import coordinate_grid, displace, displacement_px, pixels_per_unit
from synhead.geometry.heatmap import expected_position, gaussian_heatmaps, inverse_2x2, sparse_motions
from synhead.geometry.warp import merge_taps, occlude, resize, resize_grid, sample, tap_grid, warp
from synhead.types import Keypoints


def test_grid_is_x_then_y_with_aligned_corners():
    grid = coordinate_grid(3, 5, torch.zeros(1))
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[2, 4].tolist() == [1, 1]
    assert grid[0, 1].tolist() == pytest.approx([-0.5, -1])


def test_displacement_is_in_pixels_of_the_flow_grid():
    identity = coordinate_grid(64, 64, torch.zeros(1))[None]
    assert pixels_per_unit(64) == 31.5
    moved = displace(identity, torch.ones(1, 2, 64, 64) * torch.tensor([2.0, -3.0])[None, :, None, None])
    assert torch.allclose(displacement_px(moved)[0, 0], torch.full((64, 64), 2.0), atol=1e-5)
    assert torch.allclose(displacement_px(moved)[0, 1], torch.full((64, 64), -3.0), atol=1e-5)


def test_identity_flow_changes_nothing_at_any_size():
    image = torch.rand(1, 2, 32, 32)
    assert torch.allclose(warp(image, coordinate_grid(8, 8, image)[None]), image, atol=1e-5)


def test_one_pixel_shift_samples_the_neighbour():
    image = torch.rand(1, 1, 8, 8)
    grid = displace(coordinate_grid(8, 8, image)[None], torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 8, 8))
    assert torch.allclose(warp(image, grid)[..., :-1], image[..., 1:], atol=1e-5)
    assert torch.allclose(warp(image, grid)[..., -1], torch.zeros(8), atol=1e-5)  # zeros outside


def test_occlusion_is_resized_and_multiplied():
    feature, visibility = torch.ones(1, 3, 8, 8), torch.full((1, 1, 4, 4), 0.25)
    assert torch.allclose(occlude(feature, visibility), torch.full((1, 3, 8, 8), 0.25))
    assert resize(feature, 8) is feature
    assert resize_grid(torch.zeros(1, 4, 4, 2), 8).shape == (1, 8, 8, 2)


def test_heat_map_peaks_at_its_keypoint():
    position = torch.tensor([[[0.5, -0.25]]])
    heatmap = gaussian_heatmaps(position, 65, 0.01)
    assert float(heatmap.max()) == pytest.approx(1, abs=1e-2)
    assert torch.allclose(expected_position(heatmap / heatmap.sum()), position, atol=1e-3)


def test_sparse_motion_carries_driving_points_to_source_points():
    torch.manual_seed(0)
    source = Keypoints(torch.rand(2, 4, 2) - 0.5, torch.eye(2) + 0.1 * torch.randn(2, 4, 2, 2))
    driving = Keypoints(torch.rand(2, 4, 2) - 0.5, torch.eye(2) + 0.1 * torch.randn(2, 4, 2, 2))
    motions = sparse_motions(source, driving, 9)
    identity = coordinate_grid(9, 9, source.position)
    assert torch.equal(motions[0, 0], identity)
    at_centre = Keypoints(torch.zeros(2, 4, 2), driving.jacobian)  # the centre of a 9 x 9 grid is position 0
    assert torch.allclose(sparse_motions(source, at_centre, 9)[:, 1:, 4, 4], source.position, atol=1e-5)


def test_inverse_matches_the_solver():
    matrix = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    assert torch.allclose(inverse_2x2(matrix), torch.linalg.inv(matrix))


@pytest.mark.parametrize("target", [8, 16])
def test_only_the_pixels_that_a_resize_reads(target):
    torch.manual_seed(0)
    grid, feature = (
        torch.rand(2, 16, 16, 2, dtype=torch.float64) * 2 - 1,
        torch.randn(2, 3, 64, 64, dtype=torch.float64),
    )
    pixels = sample(feature, tap_grid(grid, 64, target))
    assert pixels.shape == (2, 3, 2 * target, 2 * target)
    wanted = resize(warp(feature, grid), target)
    torch.testing.assert_close(merge_taps(pixels, 64, target), wanted, atol=1e-5, rtol=0)
