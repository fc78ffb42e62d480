"""Two parts of a driver's movement: what one turn, shift and scaling of the whole head explains, and the rest.

The keypoints are unsupervised: none is bound to an eye or a lip, and they lie in the picture, not in space. So this is
no separation of pose from expression. A similarity transform fitted to all keypoints between the reference and the
current frame is called the head; what remains is called the face, and that includes what a head turned sideways does
beyond a similarity (near points move further than far ones).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from synhead.types import Keypoints

Part = Literal["all", "head", "face"]
PARTS: tuple[Part, ...] = get_args(Part)

ITERATIONS = 10
MIN_SPREAD = 1e-9
MIN_RESIDUAL = 1e-6
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Similarity:
    """x -> linear @ x + shift, linear being a rotation times a positive scale; one a frame."""

    linear: Float[Tensor, "b 2 2"]
    shift: Float[Tensor, "b 2"]


def keep_part(driving: Keypoints, reference: Keypoints, part: Part) -> Keypoints:
    """The driving keypoints as they would be if only that part had moved since ``reference`` (batch 1).

    ``head``: the reference's keypoints and Jacobians under the fitted transform. ``face``: the driving ones with it
    undone. Each is what is left when the other is taken away: the transform of ``head`` applied to ``face`` is all.
    """
    if part == "all":
        return driving
    head = fit_similarity(reference.position, driving.position)
    linear = head.linear[:, None]
    if part == "head":
        moved = reference.position @ head.linear.mT + head.shift[:, None]
        return Keypoints(position=moved, jacobian=linear @ reference.jacobian)
    back = torch.linalg.inv(linear)
    still = (back @ (driving.position - head.shift[:, None])[..., None])[..., 0]
    return Keypoints(position=still, jacobian=back @ driving.jacobian)


def fit_similarity(before: Float[Tensor, "1 k 2"], after: Float[Tensor, "b k 2"]) -> Similarity:
    """Robust least squares (Cauchy weights): a few keypoints that go their own way, as on a mouth, hardly pull it.

    The identity with the mean shift where the keypoints coincide.
    """
    source, target = before.double().expand(after.shape[0], -1, -1), after.double()
    weights = torch.ones_like(target[..., :1])
    linear, shift = _weighted_fit(source, target, weights)
    for _ in range(ITERATIONS):
        residual = (target - source @ linear.mT - shift).norm(dim=-1, keepdim=True)
        sigma = MAD_TO_SIGMA * residual.median(dim=1, keepdim=True).values.clamp(min=MIN_RESIDUAL)
        linear, shift = _weighted_fit(source, target, 1 / (1 + (residual / sigma) ** 2))
    return Similarity(linear.to(after.dtype), shift[:, 0].to(after.dtype))


def _weighted_fit(source: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Linear parts (b 2 2) and shifts (b 1 2): as complex numbers, the quotient of covariances."""
    share = weights / weights.sum(dim=1, keepdim=True)
    from_centre, to_centre = (share * source).sum(1, keepdim=True), (share * target).sum(1, keepdim=True)
    x, y = source - from_centre, target - to_centre
    spread = (share * x**2).sum(dim=(1, 2))
    along = (share * x * y).sum(dim=(1, 2))
    across = (share[..., 0] * (x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0])).sum(dim=1)
    # A head neither shrinks to a point nor collapses: both would make the transform impossible to undo.
    usable = (spread > MIN_SPREAD) & (along**2 + across**2 > (MIN_SPREAD + 0.01 * spread) ** 2)
    cosine = torch.where(usable, along / spread, 1.0)
    sine = torch.where(usable, across / spread, 0.0)
    linear = torch.stack([torch.stack([cosine, -sine], dim=-1), torch.stack([sine, cosine], dim=-1)], dim=-2)
    return linear, to_centre - from_centre @ linear.mT
