"""Lids that move further than driven, for weights whose pictures follow their keypoints by less.

Training with landmarks leads the first keypoints to lids, lips and corners (``losses.weights.landmarks``). Few minutes
of it leave pictures that close an eye by about half of what the keypoints do; this makes up for it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from synhead.types import FacePoint, Keypoints

LIDS = (
    (FacePoint.LEFT_UPPER_LID, FacePoint.LEFT_LOWER_LID),
    (FacePoint.RIGHT_UPPER_LID, FacePoint.RIGHT_LOWER_LID),
)
"""Upper and lower lid of each eye, as keypoints."""

_NO_GAP = 1e-6


def move_lids(driving: Keypoints, source: Keypoints, gain: float) -> Keypoints:
    """``driving`` with the gap between the lids changed ``gain`` times as much from the source's gap; 0 at least.

    Gaps are compared in units of the face's size (root mean square distance of its keypoints from their mean), so that
    a face that only comes nearer keeps its eyes as open as they are. The upper lid moves, along the line to the lower
    one; all else stays, and with a gain of 1 all. ``source`` has batch 1 or that of ``driving``. ValueError for fewer
    keypoints than name the lids.
    """
    if gain == 1.0:
        return driving
    count = driving.position.shape[-2]
    if count <= max(lower for _, lower in LIDS):
        raise ValueError(f"{count} keypoints name no lids")
    position = driving.position.clone()
    grown = _size(driving) / _size(source)
    for upper, lower in LIDS:
        across = driving.position[:, lower] - driving.position[:, upper]
        gap = across.norm(dim=-1)
        rest = (source.position[:, lower] - source.position[:, upper]).norm(dim=-1) * grown
        wanted = (rest + gain * (gap - rest)).clamp(min=0.0)
        share = torch.where(gap > _NO_GAP, (gap - wanted) / gap.clamp(min=_NO_GAP), 0.0)
        position[:, upper] += across * share[:, None]
    return Keypoints(position=position, jacobian=driving.jacobian)


def _size(keypoints: Keypoints) -> Float[Tensor, " b"]:
    offsets = keypoints.position - keypoints.position.mean(dim=-2, keepdim=True)
    return offsets.square().sum(dim=-1).mean(dim=-1).sqrt().clamp(min=_NO_GAP)
