"""Random affine plus thin-plate warp W of the equivariance terms (spec section C), with its Jacobian in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from synhead.geometry.grid import coordinate_grid

_LOG_OFFSET = 1e-6


@dataclass(frozen=True, slots=True)
class RandomWarp:
    """W(z) = A z + t + s(z) (1, 1), one warp a batch element, on coordinates in [-1, 1], (x, y) last.

    s(z) = sum_j a_j r_j^2 log(r_j + 1e-6) with the **L1** distance r_j = |x - x_j| + |y - y_j| to the points of a
    square grid over [-1, 1]^2; the same s moves x and y. ``affine``: [A | t]. ``bend``: a_j, row-major over the grid,
    whose side is the square root of their number (5 as published).
    """

    affine: Float[Tensor, "b 2 3"]
    bend: Float[Tensor, "b 1 n"]

    def warp_coordinates(self, points: Float[Tensor, "#b n 2"]) -> Float[Tensor, "b n 2"]:
        """W(points). Points of batch size 1 are shared by all warps. Sums, not matmuls: exact under autocast."""
        linear = (self.affine[:, None, :, :2] * points[:, :, None]).sum(-1) + self.affine[:, None, :, 2]
        radius = self._offsets(points).abs().sum(-1)
        bend = (self.bend * (radius.square() * (radius + _LOG_OFFSET).log())).sum(-1, keepdim=True)
        return linear + bend

    def warp_frame(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The image sampled at W(grid(h, w)): bilinear, reflection padding, align_corners False as published."""
        height, width = image.shape[-2:]
        points = coordinate_grid(height, width, self.affine).reshape(1, height * width, 2)
        grid = rearrange(self.warp_coordinates(points), "b (h w) xy -> b h w xy", h=height)
        return F.grid_sample(image, grid.to(image.dtype), padding_mode="reflection", align_corners=False)

    def jacobian(self, points: Float[Tensor, "#b n 2"]) -> Float[Tensor, "b n 2 2"]:
        """J_W = A + (1, 1)^T grad s, rows d x'/d(x, y) and d y'/d(x, y); differentiable in the points.

        grad s = sum_j a_j (2 r_j log(r_j + 1e-6) + r_j^2 / (r_j + 1e-6)) sign(z - x_j), where sign(0) = 0 as in
        autograd's derivative of |.|. The first and second derivatives equal those of autograd on
        :meth:`warp_coordinates`, without its double backward graph.
        """
        offsets = self._offsets(points)
        radius = offsets.abs().sum(-1)
        shifted = radius + _LOG_OFFSET
        slope = self.bend * (2 * radius * shifted.log() + radius.square() / shifted)
        gradient = (slope[..., None] * offsets.sign()).sum(-2)
        return self.affine[:, None, :, :2] + gradient[:, :, None]

    def _offsets(self, points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n j 2"]:
        side = math.isqrt(self.bend.shape[-1])
        centres = coordinate_grid(side, side, self.affine).reshape(side * side, 2)
        return points[:, :, None] - centres


def draw(
    batch: int, generator: torch.Generator, *, affine_std: float = 0.05, bend_std: float = 0.005, side: int = 5
) -> RandomWarp:
    """One warp a batch element: [A | t] = [Id | 0] + N(0, affine_std^2), a_j ~ N(0, bend_std^2), float32.

    Drawn on the generator's device, which becomes the device of the warp.
    """
    device = generator.device
    noise = torch.randn(batch, 2, 3, generator=generator, device=device)
    bend = torch.randn(batch, 1, side * side, generator=generator, device=device)
    return RandomWarp(affine=torch.eye(2, 3, device=device) + affine_std * noise, bend=bend_std * bend)
