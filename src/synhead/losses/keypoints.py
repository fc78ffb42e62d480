"""Keypoint losses: equivariance to a random warp (Zhang 2018; Siarohin 2019) and keypoint distance (spec C)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from synhead.geometry.heatmap import inverse_2x2
from synhead.geometry.precision import upcast
from synhead.geometry.tps import RandomWarp
from synhead.losses.config import KeypointDistanceName
from synhead.losses.image import mean
from synhead.types import Keypoints

MINIMUM_DISTANCE = 0.2


def equivariance_value_loss(driving: Keypoints, transformed: Keypoints, warp: RandomWarp) -> Float[Tensor, ""]:
    """E[|p_d - W(p_t)|]: keypoints of the warped frame, mapped back by the warp, are those of the frame."""
    return mean((upcast(driving.position) - warp.warp_coordinates(upcast(transformed.position))).abs())


def equivariance_jacobian_loss(driving: Keypoints, transformed: Keypoints, warp: RandomWarp) -> Float[Tensor, ""]:
    """E[|Id - J_d^-1 (J_W(p_t) J_t)|]."""
    moved = _multiply(warp.jacobian(upcast(transformed.position)), upcast(transformed.jacobian))
    relative = _multiply(inverse_2x2(upcast(driving.jacobian)), moved)
    return mean((torch.eye(2, device=relative.device, dtype=relative.dtype) - relative).abs())


def keypoint_distance_published(position: Float[Tensor, "b k 2"]) -> Float[Tensor, ""]:
    """E over b x k x k of (1 - sign(d_ab - 0.2)): twice the share of ordered pairs nearer than 0.2. No gradient."""
    with torch.no_grad():
        return mean(1 - (_distances(position) - MINIMUM_DISTANCE).sign())


def keypoint_distance_hinge_loss(position: Float[Tensor, "b k 2"]) -> Float[Tensor, ""]:
    """E over b x k x k of relu(0.2 - d_ab): the differentiable variant, a deviation from the published code.

    It pushes near pairs apart with the same strength at any distance; exactly coincident ones receive no gradient.
    """
    return mean((MINIMUM_DISTANCE - _distances(position)).relu())


def keypoint_distance_loss(source: Keypoints, driving: Keypoints, variant: KeypointDistanceName) -> Float[Tensor, ""]:
    """Keypoint distance of the source plus that of the driving keypoints, in the named variant."""
    loss = keypoint_distance_published if variant == "published" else keypoint_distance_hinge_loss
    return loss(source.position) + loss(driving.position)


def _distances(position: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k k"]:
    """d_ab = sqrt(|p_a - p_b|^2 + 1e-8), plus 0.2 on the diagonal, which thereby never counts as near."""
    position = upcast(position)
    offset = position[:, :, None] - position[:, None]
    diagonal = torch.eye(position.shape[1], device=position.device, dtype=position.dtype)
    return (offset.square().sum(-1) + 1e-8).sqrt() + MINIMUM_DISTANCE * diagonal


def _multiply(left: Float[Tensor, "*n 2 2"], right: Float[Tensor, "*n 2 2"]) -> Float[Tensor, "*n 2 2"]:
    """Matrix product as sums of products: autocast would run ``@`` in half precision."""
    return (left[..., :, :, None] * right[..., None, :, :]).sum(-2)
