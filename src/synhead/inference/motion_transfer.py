"""Carrying the driver's motion over to the source's keypoints (spec E)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from synhead.types import Keypoints

MIN_HULL_AREA = 1e-8


def transfer_motion(source: Keypoints, driving: Keypoints, reference: Keypoints, *, scale: float = 1.0) -> Keypoints:
    """Relative motion: p = p_s + r (p_d - p_d0), J = (J_d J_d0^-1) J_s.

    ``source`` and ``reference`` (p_d0, the driver's frame whose pose is taken to be the source's) have batch 1 or that
    of ``driving``; ``scale`` is r. With ``driving`` equal to ``reference`` the source's keypoints come back.
    """
    # inv_ex gives infinities for a singular matrix instead of stopping the video.
    inverse = torch.linalg.inv_ex(reference.jacobian.float()).inverse
    return Keypoints(
        position=source.position + scale * (driving.position - reference.position),
        jacobian=driving.jacobian.float() @ inverse @ source.jacobian.float(),
    )


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
