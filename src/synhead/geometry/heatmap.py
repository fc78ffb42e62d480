"""Keypoints as Gaussian maps and local affine motions on the flow grid (spec B.3)."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from synhead.geometry.grid import coordinate_grid
from synhead.types import Keypoints


def gaussian_heatmaps(
    position: Float[Tensor, "b k 2"], size: int, variance: float
) -> Float[Tensor, "b k {size} {size}"]:
    """exp(-0.5 |z - p_k|^2 / variance) on grid(size, size), not normalised (spec B.3 step 2)."""
    grid = coordinate_grid(size, size, position)
    offset = grid - position[:, :, None, None, :]
    return torch.exp(-0.5 * offset.square().sum(dim=-1) / variance)


def inverse_2x2(matrix: Float[Tensor, "*n 2 2"]) -> Float[Tensor, "*n 2 2"]:
    """Closed-form inverse of 2 x 2 matrices; infinite where the determinant is zero, as a solver would be."""
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * c)[..., None, None]


def sparse_motions(source: Keypoints, driving: Keypoints, size: int) -> Float[Tensor, "b k1 {size} {size} 2"]:
    """T_0(z) = z; T_k(z) = J_s J_d^-1 (z - p_d) + p_s (spec B.3 step 3): one sampling grid a keypoint."""
    grid = coordinate_grid(size, size, driving.position)
    affine = source.jacobian @ inverse_2x2(driving.jacobian)
    offset = grid - driving.position[:, :, None, None, :]
    moved = torch.einsum("bkij,bkhwj->bkhwi", affine, offset) + source.position[:, :, None, None, :]
    identity = grid.expand(moved.shape[0], 1, size, size, 2)
    return torch.cat([identity, moved], dim=1)


def expected_position(heatmap: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k 2"]:
    """Mean coordinate under a normalised heat map, on the grid of the map itself (spec B.2 step 4)."""
    grid = coordinate_grid(heatmap.shape[2], heatmap.shape[3], heatmap)
    return rearrange(heatmap, "b k h w -> b k (h w)") @ rearrange(grid, "h w xy -> (h w) xy")
