"""Coordinate grids and the units of flows.

A ``grid`` is an absolute backward sampling position in [-1, 1], (x, y) last. A ``displacement_px`` is its offset from
the identity in pixels of the flow grid, channels (x, y) second (spec B.5).
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def coordinate_grid(height: int, width: int, like: Tensor) -> Float[Tensor, "{height} {width} 2"]:
    """Identity grid, x = 2*col/(w-1) - 1, y = 2*row/(h-1) - 1, float32 on the device of ``like`` (spec B.1)."""
    dtype = like.dtype if like.dtype == torch.float64 else torch.float32
    x = 2 * torch.arange(width, device=like.device, dtype=dtype) / max(width - 1, 1) - 1
    y = 2 * torch.arange(height, device=like.device, dtype=dtype) / max(height - 1, 1) - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)


def pixels_per_unit(size: int) -> float:
    """Pixels of a grid of ``size`` positions that one unit of [-1, 1] spans: 31.5 at 64."""
    return (size - 1) / 2


def displacement_px(grid: Float[Tensor, "b h w 2"]) -> Float[Tensor, "b 2 h w"]:
    """(M - I) * 31.5: offset from the identity in pixels of the flow grid (spec B.5, "flow in pixels")."""
    height, width = grid.shape[1:3]
    offset = (grid - coordinate_grid(height, width, grid)) * pixels_per_unit(width)
    return rearrange(offset, "b h w xy -> b xy h w")


def displace(grid: Float[Tensor, "b h w 2"], residual_px: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b h w 2"]:
    """M^i = M^{i-1} + M_r^i with the residual in pixels of the flow grid (spec B.5 step 13)."""
    step = rearrange(residual_px, "b xy h w -> b h w xy").to(grid.dtype)
    return grid + step / pixels_per_unit(grid.shape[2])
