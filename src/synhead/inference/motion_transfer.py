"""Carrying the driver's motion over to the source's keypoints (spec E)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from synhead.types import Keypoints

MIN_HULL_AREA = 1e-8
MIN_EIGENVALUE = 1e-6
EQUAL_EIGENVALUES = 1e-6


def transfer_motion(
    source: Keypoints, driving: Keypoints, reference: Keypoints, *, scale: float = 1.0, multiplier: float = 1.0
) -> Keypoints:
    """Relative motion: p = p_s + m r (p_d - p_d0), J = (J_d J_d0^-1)^m J_s.

    ``source`` and ``reference`` (p_d0, the driver's frame whose pose is taken to be the source's) have batch 1 or that
    of ``driving``; ``scale`` is r, ``multiplier`` is m, 1 in the paper. With ``driving`` equal to ``reference`` the
    source's keypoints come back.
    """
    # inv_ex gives infinities for a singular matrix instead of stopping the video.
    inverse = torch.linalg.inv_ex(reference.jacobian.float()).inverse
    change = driving.jacobian.float() @ inverse
    if multiplier != 1.0:
        scale *= multiplier
        change = matrix_power(change, multiplier)
    return Keypoints(
        position=source.position + scale * (driving.position - reference.position),
        jacobian=change @ source.jacobian.float(),
    )


def matrix_power(matrix: Float[Tensor, "*b 2 2"], exponent: float) -> Float[Tensor, "*b 2 2"]:
    """exp(exponent log(matrix)), the real principal power: half of a rotation turns by half, of a scaling by its root.

    A matrix with an eigenvalue at or below zero (mirrored or collapsed) has none, and one with a pair that almost is
    there an unbounded one; it is interpolated entry by entry from the identity instead: I + exponent (matrix - I).
    """
    exact = matrix.double()
    identity = torch.eye(2, dtype=exact.dtype, device=exact.device)
    mean = (exact[..., 0, 0] + exact[..., 1, 1]) / 2
    discriminant = mean**2 - torch.linalg.det(exact)  # eigenvalues are mean +- its square root
    half = discriminant.abs().sqrt()
    # By Cayley and Hamilton the power is centre I + slope (matrix - mean I); real, complex and equal eigenvalues:
    low, high = (mean - half).clamp(min=MIN_EIGENVALUE), (mean + half).clamp(min=MIN_EIGENVALUE)
    radius, angle = torch.hypot(mean, half) ** exponent, exponent * torch.atan2(half, mean)
    is_complex, is_equal = discriminant < 0, half < EQUAL_EIGENVALUES * mean.abs()
    centre = torch.where(is_complex, radius * angle.cos(), (high**exponent + low**exponent) / 2)
    step = torch.where(is_complex, radius * angle.sin(), (high**exponent - low**exponent) / 2)
    slope = torch.where(is_equal, exponent * mean.abs() ** (exponent - 1), step / half)
    power = centre[..., None, None] * identity + slope[..., None, None] * (exact - mean[..., None, None] * identity)
    # How far the eigenvalues are from zero and below, where the principal power jumps.
    distance = torch.where(is_complex, torch.where(mean < 0, half, torch.hypot(mean, half)), mean - half)
    has_power = (distance > MIN_EIGENVALUE) & power.isfinite().all(dim=-1).all(dim=-1)
    return torch.where(has_power[..., None, None], power, identity + exponent * (exact - identity)).to(matrix.dtype)


def movement_scale(source: Keypoints, reference: Keypoints) -> float:
    """r = sqrt(area(hull p_s)) / sqrt(area(hull p_d0)): a large driver moves a small source by less. Batch 1 each.

    1 if either hull has no area (collapsed keypoints).
    """
    areas = hull_area(source.position[0]), hull_area(reference.position[0])
    return math.sqrt(areas[0] / areas[1]) if min(areas) > MIN_HULL_AREA else 1.0


def hull_area(points: Float[Tensor, "k 2"]) -> float:
    """Area of the convex hull (Andrew's monotone chain, then the shoelace formula); 0 for fewer than 3 corners."""
    ordered = sorted({(x, y) for x, y in points.double().tolist()})
    if len(ordered) < 3:
        return 0.0
    corners = _half_hull(ordered) + _half_hull(ordered[::-1])
    following = corners[1:] + corners[:1]
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(corners, following, strict=True))) / 2


def _half_hull(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One chain of the hull along sorted points, without its last corner, which begins the other chain."""
    chain: list[tuple[float, float]] = []
    for point in ordered:
        while len(chain) >= 2 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain[:-1]


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Twice the signed area of a triangle: positive for a turn to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
