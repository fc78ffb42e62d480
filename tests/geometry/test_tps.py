import math

import pytest
import torch
import torch.nn.functional as F

from synhead.geometry.grid import coordinate_grid
from synhead.geometry.tps import RandomWarp, draw


def double_warp(batch: int = 2, seed: int = 0) -> RandomWarp:
    warp = draw(batch, torch.Generator().manual_seed(seed), bend_std=0.05)
    return RandomWarp(affine=warp.affine.double(), bend=warp.bend.double())


def autograd_jacobian(warp: RandomWarp, points: torch.Tensor) -> torch.Tensor:
    warped = warp.warp_coordinates(points)
    rows = [torch.autograd.grad(warped[..., i].sum(), points, create_graph=True)[0] for i in range(2)]
    return torch.stack(rows, dim=-2)


def test_identity_without_noise_leaves_points_and_frames():
    warp = draw(2, torch.Generator().manual_seed(0), affine_std=0.0, bend_std=0.0)
    points = torch.rand(2, 7, 2)
    torch.testing.assert_close(warp.warp_coordinates(points), points)
    torch.testing.assert_close(warp.jacobian(points), torch.eye(2).expand(2, 7, 2, 2))
    # grid(h, w) is in aligned-corners convention but sampled without: not the identity, as published
    image = torch.rand(2, 3, 8, 8)
    grid = coordinate_grid(8, 8, image).expand(2, 8, 8, 2)
    expected = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(warp.warp_frame(image), expected)


def test_one_bend_by_hand():
    bend = torch.zeros(1, 1, 25)
    bend[0, 0, 6] = 0.1  # row-major 5 x 5: the point (-0.5, -0.5)
    warp = RandomWarp(affine=torch.tensor([[[1.0, 0.2, 0.3], [0.0, 0.9, -0.1]]]), bend=bend)
    x, y = 0.25, -0.75
    radius = abs(x + 0.5) + abs(y + 0.5)
    s = 0.1 * radius**2 * math.log(radius + 1e-6)
    expected = torch.tensor([[[x + 0.2 * y + 0.3 + s, 0.9 * y - 0.1 + s]]])
    torch.testing.assert_close(warp.warp_coordinates(torch.tensor([[[x, y]]])), expected)
    slope = 0.1 * (2 * radius * math.log(radius) + radius)
    jacobian = torch.tensor([[[[1 + slope, 0.2 - slope], [slope, 0.9 - slope]]]])
    torch.testing.assert_close(warp.jacobian(torch.tensor([[[x, y]]])), jacobian, atol=1e-5, rtol=0)


def test_jacobian_equals_autograd_to_second_order():
    warp = double_warp()
    points = (2 * torch.rand(2, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1) * 1.2
    points[0, 0] = torch.tensor([0.5, -1.0])  # on a control point
    points[0, 1, 0] = -0.5  # on a line through control points: sign(0) = 0
    points.requires_grad_()
    ours, expected = warp.jacobian(points), autograd_jacobian(warp, points)
    torch.testing.assert_close(ours, expected)
    probe = torch.rand_like(ours)
    (second,) = torch.autograd.grad((ours * probe).sum(), points)
    (second_expected,) = torch.autograd.grad((expected * probe).sum(), points)
    torch.testing.assert_close(second, second_expected)
    assert second.abs().sum() > 0


def test_points_of_batch_one_are_shared():
    warp = double_warp(batch=3)
    points = torch.rand(1, 4, 2, dtype=torch.float64)
    repeated = points.expand(3, 4, 2)
    torch.testing.assert_close(warp.warp_coordinates(points), warp.warp_coordinates(repeated))
    torch.testing.assert_close(warp.jacobian(points), warp.jacobian(repeated))


def test_frame_is_sampled_at_the_warped_grid():
    warp = draw(2, torch.Generator().manual_seed(3))
    image = torch.rand(2, 3, 12, 16)
    points = coordinate_grid(12, 16, image).reshape(1, -1, 2).expand(2, -1, -1)
    grid = warp.warp_coordinates(points).reshape(2, 12, 16, 2)
    expected = F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(warp.warp_frame(image), expected)


@pytest.mark.parametrize("side", [3, 5])
def test_draw_follows_its_generator(side: int):
    first, second = (draw(64, torch.Generator().manual_seed(5), side=side) for _ in range(2))
    assert torch.equal(first.affine, second.affine)
    assert torch.equal(first.bend, second.bend)
    assert first.bend.shape == (64, 1, side * side)
    assert (first.affine - torch.eye(2, 3)).std().item() == pytest.approx(0.05, rel=0.2)
    assert first.bend.std().item() == pytest.approx(0.005, rel=0.2)
