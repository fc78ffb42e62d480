"""Losses that need landmarks, not in the published recipe: keypoints and flow led to them, mouth and eyes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from synhead.geometry.precision import full_precision, upcast
from synhead.losses.image import mean
from synhead.types import FacePoint, Keypoints, Motion

_MOUTH = [FacePoint.UPPER_LIP, FacePoint.LOWER_LIP, FacePoint.MOUTH_LEFT, FacePoint.MOUTH_RIGHT]
_LEFT_EYE = [FacePoint.LEFT_UPPER_LID, FacePoint.LEFT_LOWER_LID, FacePoint.LEFT_EYE_CORNER]
_RIGHT_EYE = [FacePoint.RIGHT_UPPER_LID, FacePoint.RIGHT_LOWER_LID, FacePoint.RIGHT_EYE_CORNER]
_CORNERS = [FacePoint.LEFT_EYE_CORNER, FacePoint.RIGHT_EYE_CORNER]
_UPPER = [FacePoint.UPPER_LIP, FacePoint.LEFT_UPPER_LID, FacePoint.RIGHT_UPPER_LID]
_LOWER = [FacePoint.LOWER_LIP, FacePoint.LEFT_LOWER_LID, FacePoint.RIGHT_LOWER_LID]
_REACH = 0.45
"""Half the side of a region as a share of the distance between the outer corners of the eyes."""


class FacePoints(NamedTuple):
    """Landmarks of a batch (in the order of FacePoint), edge to edge in [-1, 1], NaN if unknown.

    A tuple, for Fabric converts what it passes on and refuses frozen dataclasses.
    """

    source: Float[Tensor, "b points 2"]
    driving: Float[Tensor, "b points 2"]


def landmark_loss(keypoints: Keypoints, points: Float[Tensor, "b points 2"], size: int) -> Float[Tensor, ""]:
    """E[|p_k - l_k|] of the first keypoints, as many as there are points; unknown ones count as right.

    ``size``: of the picture, whose first and last pixel's centres are -1 and 1 to the keypoints.
    """
    count = min(points.shape[1], keypoints.position.shape[1])
    return _distance(upcast(keypoints.position[:, :count]), between_centres(points[:, :count], size))


def opening_loss(keypoints: Keypoints, points: Float[Tensor, "b points 2"], size: int) -> Float[Tensor, ""]:
    """E[|(p_u - p_l) - (l_u - l_l)|] over lips and both pairs of lids: how far they are apart, wherever they are.

    For models with a keypoint for each point only. ``size``: see landmark_loss.
    """
    found, wanted = upcast(keypoints.position), between_centres(points, size)
    return _distance(*(_among(points, _UPPER) - _among(points, _LOWER) for points in (found, wanted)))


def landmark_flow_loss(motion: Motion, points: FacePoints, size: int) -> Float[Tensor, ""]:
    """E[|M(l_d) - l_s|]: the backward flow at driving landmarks points to the source's. ``size``: see landmark_loss."""
    source, driving = (between_centres(each, size) for each in points)
    inside = driving.abs().amax(dim=-1, keepdim=True) <= 1  # the flow ends with the picture; false where unknown
    flow = rearrange(motion.grid, "b h w xy -> b xy h w")
    found = F.grid_sample(flow, driving.nan_to_num()[:, :, None], align_corners=True)
    return _distance(rearrange(found, "b xy points 1 -> b points xy"), source.where(inside, torch.nan))


def between_centres(points: Float[Tensor, "b points 2"], size: int) -> Float[Tensor, "b points 2"]:
    """From edge to edge in [-1, 1] to -1 and 1 at the centres of the outermost pixels, as in keypoints and flows."""
    return points * (size / (size - 1))


def _among(points: Float[Tensor, "b points 2"], group: Sequence[int]) -> Float[Tensor, "b group 2"]:
    """Some of the points; a list as an index would be sent to the device, and a recording cannot wait for that."""
    return torch.stack([points[:, index] for index in group], dim=1)


def _distance(found: Float[Tensor, "b n 2"], wanted: Float[Tensor, "b n 2"]) -> Float[Tensor, ""]:
    """Mean absolute difference; NaN in ``wanted`` counts as right."""
    return mean(torch.where(torch.isfinite(wanted), found - wanted.nan_to_num(), 0.0).abs())


def face_regions(
    image: Float[Tensor, "b 3 h w"], points: Float[Tensor, "b points 2"], side: int
) -> Float[Tensor, "regions 3 {side} {side}"]:
    """Squares of ``side`` pixels around the mouth and both eyes, sized by the face; black where points are unknown."""
    with full_precision(image):
        known = torch.isfinite(points).all(dim=(1, 2))
        image = upcast(image)
        points = points.nan_to_num().to(image.dtype)
        left, right = _among(points, _CORNERS).unbind(dim=1)
        reach = (_REACH * (left - right).norm(dim=1)).repeat(3)
        centres = torch.cat([_among(points, group).mean(dim=1) for group in (_MOUTH, _LEFT_EYE, _RIGHT_EYE)])
        zero = torch.zeros_like(reach)
        rows = (torch.stack([reach, zero, centres[:, 0]], 1), torch.stack([zero, reach, centres[:, 1]], 1))
        grid = F.affine_grid(torch.stack(rows, 1), [len(reach), 3, side, side], align_corners=False)
        crops = F.grid_sample(image.repeat(3, 1, 1, 1), grid, padding_mode="border", align_corners=False)
        return crops * known.repeat(3)[:, None, None, None]
