import math

import pytest
import torch

from synhead.geometry.tps import draw
from synhead.losses.keypoints import (
    equivariance_jacobian_loss,
    equivariance_value_loss,
    keypoint_distance_hinge_loss,
    keypoint_distance_loss,
    keypoint_distance_published,
)
from synhead.types import Keypoints


def keypoints(batch: int = 2, count: int = 5, seed: int = 0) -> Keypoints:
    generator = torch.Generator().manual_seed(seed)
    position = 2 * torch.rand(batch, count, 2, generator=generator) - 1
    jacobian = torch.eye(2) + 0.2 * torch.randn(batch, count, 2, 2, generator=generator)
    return Keypoints(position=position.requires_grad_(), jacobian=jacobian.requires_grad_())


def test_equivariant_keypoints_have_no_loss():
    warp = draw(2, torch.Generator().manual_seed(0))
    transformed = keypoints()
    driving = Keypoints(
        position=warp.warp_coordinates(transformed.position),
        jacobian=warp.jacobian(transformed.position) @ transformed.jacobian,
    )
    assert equivariance_value_loss(driving, transformed, warp).item() == pytest.approx(0, abs=1e-6)
    assert equivariance_jacobian_loss(driving, transformed, warp).item() == pytest.approx(0, abs=1e-6)


def test_equivariance_equals_the_plain_formula():
    warp, driving, transformed = draw(2, torch.Generator().manual_seed(0)), keypoints(seed=1), keypoints(seed=2)
    value = (driving.position - warp.warp_coordinates(transformed.position)).abs().mean()
    torch.testing.assert_close(equivariance_value_loss(driving, transformed, warp), value)
    moved = warp.jacobian(transformed.position) @ transformed.jacobian
    jacobian = (torch.eye(2) - torch.linalg.inv(driving.jacobian) @ moved).abs().mean()
    torch.testing.assert_close(equivariance_jacobian_loss(driving, transformed, warp), jacobian)


def test_equivariance_reaches_both_keypoint_sets_through_the_warp_jacobian():
    driving, transformed = keypoints(seed=1), keypoints(seed=2)
    warp = draw(2, torch.Generator().manual_seed(0))
    equivariance_jacobian_loss(driving, transformed, warp).backward()
    for tensor in (driving.jacobian, transformed.jacobian, transformed.position):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


def test_equivariance_is_exact_under_autocast():
    warp, driving, transformed = draw(2, torch.Generator().manual_seed(0)), keypoints(seed=1), keypoints(seed=2)
    expected = equivariance_jacobian_loss(driving, transformed, warp)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(equivariance_jacobian_loss(driving, transformed, warp), expected)


POSITION = torch.tensor([[[0.0, 0.0], [0.1, 0.0], [0.0, 0.5]]])


def test_published_distance_counts_near_pairs_without_gradient():
    position = POSITION.clone().requires_grad_()
    loss = keypoint_distance_published(position)
    assert loss.item() == pytest.approx(2 * 2 / 9)
    assert not loss.requires_grad


def test_hinge_distance_by_hand_with_gradient():
    position = POSITION.clone().requires_grad_()
    loss = keypoint_distance_hinge_loss(position)
    assert loss.item() == pytest.approx(2 * (0.2 - math.sqrt(0.01 + 1e-8)) / 9, rel=1e-4)
    loss.backward()
    assert position.grad is not None
    assert position.grad[0, 0, 0] > 0  # descent moves point 0 left, away from point 1
    assert position.grad[0, 1, 0] < 0
    assert position.grad[0, 2].abs().sum() == 0


def test_coincident_points_have_finite_gradient():
    position = torch.zeros(1, 3, 2, requires_grad=True)
    keypoint_distance_hinge_loss(position).backward()
    assert position.grad is not None
    assert position.grad.isfinite().all()


def test_distance_sums_source_and_driving():
    source, driving = keypoints(count=30, seed=3), keypoints(count=30, seed=4)
    expected = keypoint_distance_published(source.position) + keypoint_distance_published(driving.position)
    torch.testing.assert_close(keypoint_distance_loss(source, driving, "published"), expected)
    assert 0 < keypoint_distance_loss(source, driving, "hinge") < expected
