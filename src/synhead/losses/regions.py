"""Losses that need landmarks, not part of the published recipe: keypoints led to them, mouth and eyes apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from synhead.losses.image import mean
from synhead.nn.precision import full_precision, upcast
from synhead.types import FacePoint, Keypoints

__all__ = ["FacePoints", "face_regions", "landmark_loss"]

_MOUTH = [FacePoint.UPPER_LIP, FacePoint.LOWER_LIP, FacePoint.MOUTH_LEFT, FacePoint.MOUTH_RIGHT]
_LEFT_EYE = [FacePoint.LEFT_UPPER_LID, FacePoint.LEFT_LOWER_LID, FacePoint.LEFT_EYE_CORNER]
_RIGHT_EYE = [FacePoint.RIGHT_UPPER_LID, FacePoint.RIGHT_LOWER_LID, FacePoint.RIGHT_EYE_CORNER]
_CORNERS = [FacePoint.LEFT_EYE_CORNER, FacePoint.RIGHT_EYE_CORNER]
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
    wanted = points[:, :count] * (size / (size - 1))
    known = torch.isfinite(wanted)
    found = upcast(keypoints.position[:, :count])
    return mean(torch.where(known, found - wanted.nan_to_num(), 0.0).abs())


def face_regions(
    image: Float[Tensor, "b 3 h w"], points: Float[Tensor, "b points 2"], side: int
) -> Float[Tensor, "regions 3 {side} {side}"]:
    """Squares of ``side`` pixels around the mouth and both eyes, sized by the face; black where points are unknown."""
    with full_precision(image):
        known = torch.isfinite(points).all(dim=(1, 2))
        image = upcast(image)
        points = points.nan_to_num().to(image.dtype)
        left, right = points[:, _CORNERS].unbind(dim=1)
        reach = (_REACH * (left - right).norm(dim=1)).repeat(3)
        centres = torch.cat([points[:, group].mean(dim=1) for group in (_MOUTH, _LEFT_EYE, _RIGHT_EYE)])
        zero = torch.zeros_like(reach)
        rows = (torch.stack([reach, zero, centres[:, 0]], 1), torch.stack([zero, reach, centres[:, 1]], 1))
        grid = F.affine_grid(torch.stack(rows, 1), [len(reach), 3, side, side], align_corners=False)
        crops = F.grid_sample(image.repeat(3, 1, 1, 1), grid, padding_mode="border", align_corners=False)
        return crops * known.repeat(3)[:, None, None, None]
