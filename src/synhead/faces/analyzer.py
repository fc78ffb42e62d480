"""The interface of the faces room: pictures in, boxes and landmarks out, whatever finds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from synhead.config import UserError
from synhead.faces.boxes import Box
from synhead.faces.pose import HeadPose
from synhead.types import NDArray

Mode = Literal["image", "video"]
"""``image``: each picture alone, results do not depend on order. ``video``: tracks from frame to frame, faster."""

RGB = UInt8[NDArray[np.uint8], "h w 3"]


class FaceError(UserError, RuntimeError):
    """Faces cannot be analysed; the message is one line and names the remedy."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """A detected face, from about the hairline to the chin, with its confidence in [0, 1].

    ``tilt``: of the line through the eyes, degrees clockwise; 0 where the backend does not say.
    """

    box: Box
    score: float
    tilt: float = 0.0


@dataclass(frozen=True, slots=True)
class FaceLandmarks:
    """The 478 points of the face mesh (468 without irises), in pixels of the picture.

    ``depth_px``: away from the camera positive, same unit, zero about the middle of the head. ``box``: around
    all points. ``score``: confidence in [0, 1], 1 where the backend gives none. ``pose``: of the head.
    """

    points_px: Float[NDArray[Any], "n 2"]
    depth_px: Float[NDArray[Any], " n"]
    box: Box
    score: float
    pose: HeadPose | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzerOptions:
    """``faces``: at most so many a picture."""

    mode: Mode = "image"
    faces: int = 1


@runtime_checkable
class FaceAnalyzer(Protocol):
    """Finds landmarks. ``with contextlib.closing(open_analyzer()) as analyzer`` frees the backend."""

    @property
    def version(self) -> str:
        """Backend, its version and model: what a figure or an index must name."""

    def landmarks(self, image: RGB) -> tuple[FaceLandmarks, ...]:
        """Faces of one RGB picture, the largest first; empty if there is none."""

    def close(self) -> None:
        """Free the backend; later calls fail."""


@runtime_checkable
class FaceDetector(Protocol):
    """Finds boxes only, also of small faces. To be closed as a FaceAnalyzer is."""

    @property
    def version(self) -> str:
        """Backend, its version and model."""

    def boxes(self, image: RGB) -> tuple[FaceBox, ...]:
        """Faces of one RGB picture, the largest first; empty if there is none."""

    def close(self) -> None:
        """Free the backend; later calls fail."""
