"""Nouns that cross rooms: frozen, slotted records of tensors. Shapes are at the published configuration's letters:
b batch, k keypoints, n a token axis, h w flow grid (64 x 64), s s a feature's size, H W the image's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray
else:

    class NDArray:
        """``numpy.typing.NDArray`` as a class: since numpy 2.5 it is an alias object, which jaxtyping cannot take."""

        def __class_getitem__(cls, item: object) -> type:
            """The array class; element types are for the type checker."""
            return np.ndarray


__all__ = [
    "Animation",
    "CoarseMotion",
    "CodeMemory",
    "FacePoint",
    "Keypoints",
    "Motion",
    "MotionCoding",
    "NDArray",
    "Quantized",
    "ScaleTrace",
    "SourceFeatures",
    "TrainingPass",
]


@dataclass(frozen=True, slots=True)
class Keypoints:
    """Unsupervised keypoints p_k in [-1, 1], (x, y), and local affine Jacobians J_k (spec B.2)."""

    position: Float[Tensor, "b k 2"]
    jacobian: Float[Tensor, "b k 2 2"]


@dataclass(frozen=True, slots=True)
class Motion:
    """A flow M^i with its occlusion O^i.

    ``grid``: absolute backward sampling positions in [-1, 1], (x, y) last. ``visibility``: after the sigmoid, (0, 1).
    """

    grid: Float[Tensor, "b h w 2"]
    visibility: Float[Tensor, "b 1 h w"]


@dataclass(frozen=True, slots=True)
class CoarseMotion:
    """Output of the dense motion network (spec B.3): M^0 with O^0, softmax masks, driving heat maps F_kp^d."""

    motion: Motion
    masks: Float[Tensor, "b k1 h w"]
    heatmaps: Float[Tensor, "b k h w"]


@dataclass(frozen=True, slots=True)
class CodeMemory:
    """Cross-attention keys and values of all codes, one pair a transformer layer: (heads, codes, head width)."""

    keys: tuple[Float[Tensor, "heads codes d"], ...]
    values: tuple[Float[Tensor, "heads codes d"], ...]


@dataclass(frozen=True, slots=True)
class SourceFeatures:
    """What is computed once per source: its keypoints, ``features[scale]`` = F_s^i (b c s s), keys and values of codes.

    ``thumbnail``: the image low-passed to the size of the flow grid.
    """

    image: Float[Tensor, "b 3 H W"]
    thumbnail: Float[Tensor, "b 3 h w"]
    keypoints: Keypoints
    features: Mapping[int, Tensor]
    motion_memory: CodeMemory | None
    appearance_memory: CodeMemory | None

    def expand(self, batch: int) -> SourceFeatures:
        """One source for ``batch`` driving frames, without copying; itself if it already has that batch."""
        if self.image.shape[0] == batch:
            return self
        keypoints = Keypoints(
            position=self.keypoints.position.expand(batch, -1, -1),
            jacobian=self.keypoints.jacobian.expand(batch, -1, -1, -1),
        )
        return replace(
            self,
            image=self.image.expand(batch, -1, -1, -1),
            thumbnail=self.thumbnail.expand(batch, -1, -1, -1),
            keypoints=keypoints,
            features={scale: feature.expand(batch, -1, -1, -1) for scale, feature in self.features.items()},
        )


@dataclass(frozen=True, slots=True)
class Quantized:
    """Vector quantisation of a feature (spec B.8): straight-through values, code indices, code loss."""

    values: Float[Tensor, "b c h w"]
    indices: Int[Tensor, "b h w"]
    loss: Float[Tensor, ""]


@dataclass(frozen=True, slots=True)
class MotionCoding:
    """Training only, per scale: F_m quantised, and the displacement decoded from it by D_M against its target."""

    quantized: Quantized
    reconstruction_px: Float[Tensor, "b 2 h w"]
    target_px: Float[Tensor, "b 2 h w"]


@dataclass(frozen=True, slots=True)
class ScaleTrace:
    """What happened at one scale: M^i with O^i, M_r^i in pixels of the flow grid, F_m if compensated, F_w^i, F_c^i."""

    scale: int
    motion: Motion
    residual_px: Float[Tensor, "b 2 h w"]
    motion_feature: Float[Tensor, "b d t t"] | None
    warped: Float[Tensor, "b c s s"]
    compensated: Float[Tensor, "b c s s"]


@dataclass(frozen=True, slots=True)
class Animation:
    """I_g in [-1, 1] (unclamped) with everything that led to it."""

    image: Float[Tensor, "b 3 H W"]
    coarse: CoarseMotion
    traces: tuple[ScaleTrace, ...]


@dataclass(frozen=True, slots=True)
class TrainingPass:
    """One training forward pass: the animation and what only the losses need.

    ``low_resolution``: I_g^1, decoded from F_c^1 alone; None if not wanted. ``last_hidden``: input of the decoder's
    last convolution, and ``drawn``: the share of I_g that is its output (None: all), both detached; the adaptive
    adversarial weight is computed from them. ``transformed``: keypoints of the TPS-warped frame.
    """

    animation: Animation
    low_resolution: Float[Tensor, "b 3 H W"] | None
    last_hidden: Float[Tensor, "b c H W"]
    drawn: Float[Tensor, "b 1 H W"] | None
    source: Keypoints
    driving: Keypoints
    transformed: Keypoints
    motion_codes: tuple[MotionCoding, ...]
    appearance_codes: tuple[Quantized, ...]


class FacePoint(IntEnum):
    """Landmarks that training may use, in the order in which they are kept; values index arrays of points."""

    UPPER_LIP = 0
    LOWER_LIP = 1
    MOUTH_LEFT = 2
    MOUTH_RIGHT = 3
    LEFT_UPPER_LID = 4
    LEFT_LOWER_LID = 5
    RIGHT_UPPER_LID = 6
    RIGHT_LOWER_LID = 7
    LEFT_EYE_CORNER = 8
    RIGHT_EYE_CORNER = 9
    NOSE = 10
    CHIN = 11
