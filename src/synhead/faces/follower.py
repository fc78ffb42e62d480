"""One face followed while its pictures come, without a look ahead: a crop a picture, still while the face is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from synhead.faces.analyzer import FaceDetector
from synhead.faces.boxes import Box
from synhead.faces.crops import Crop
from synhead.faces.locate import look_at
from synhead.faces.tracking import crop_for, held_still, same_face
from synhead.types import NDArray

_GLIMPSE_PX = 16
_CHANGE_LEVELS = 6.0
"""Of 255, on average over a face's box; noise of a camera is far below at this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """``every``: pictures from look to look at most, while the face's box shows what it showed at the last look.

    ``still``, ``still_size``: shares of the side by which face and size may change before the crop moves; wide, as what
    the crop follows the portrait does not do. ``smoothing_s``: seconds in which it then goes about two thirds of its
    way. ``patience_s``: another face is followed only once the one before has been away for so long.
    """

    every: int = 5
    still: float = 0.12
    still_size: float = 0.25
    smoothing_s: float = 0.4
    patience_s: float = 0.5


class FaceFollower:
    """The largest face at the start, as long as it stays. For one thread."""

    def __init__(self, detector: FaceDetector, following: Following | None = None) -> None:
        self._detector, self._following = detector, following or Following()
        self._shape: tuple[int, ...] = ()
        self.recentre()

    def recentre(self) -> None:
        """Take the largest face anew, and a crop that fits it as it is then."""
        self._box: Box | None = None
        self._held: Float[NDArray[Any], " 3"] | None = None
        self._crop = np.zeros(3)
        self._visible, self._since = False, 0
        self._looks_like = np.zeros(1)
        self._seen_s, self._moved_s = -math.inf, 0.0

    def crop(self, image: UInt8[NDArray[np.uint8], "h w 3"], seconds: float) -> Crop | None:
        """The face's square in the picture taken at ``seconds`` on any steady clock; None while it is not there."""
        if image.shape != self._shape:  # boxes of another size of picture mean nothing
            self._shape = image.shape
            self.recentre()
        self._since += 1
        if not self._visible or self._since >= self._following.every or self._has_changed(image):
            self._look(image, seconds)
        if not self._visible or self._box is None:
            return None
        self._move(crop_for(self._box), seconds)
        x, y, side = self._crop.tolist()
        height, width = image.shape[:2]
        return Crop(x, y, side).inside(width, height)

    def _look(self, image: UInt8[NDArray[np.uint8], "h w 3"], seconds: float) -> None:
        faces = look_at(image, self._detector)
        box = None if self._box is None else same_face(faces, self._box)
        if box is None and faces and seconds - self._seen_s >= self._following.patience_s:
            box, self._held = max(faces, key=lambda face: face.box.area).box, None
        self._visible, self._since = box is not None, 0
        if box is not None:
            self._box, self._seen_s = box, seconds
            self._looks_like = _glimpse(image, box)

    def _has_changed(self, image: UInt8[NDArray[np.uint8], "h w 3"]) -> bool:
        """Whether the face may have moved or gone since the last look: a look costs some thirty times as much."""
        if self._box is None:
            return True
        change = np.abs(_glimpse(image, self._box) - self._looks_like).mean()
        return float(change) > _CHANGE_LEVELS

    def _move(self, wanted: Crop, seconds: float) -> None:
        """With a dead zone, as crops of videos move; then smoothed by what has been, as what comes is not known."""
        target = np.array([wanted.x, wanted.y, wanted.side])
        if self._held is None:
            whole = wanted.in_whole_pixels()
            self._held = self._crop = np.array([whole.x, whole.y, whole.side])
        self._held = held_still(self._held, target, self._following.still, self._following.still_size)
        passed = max(0.0, seconds - self._moved_s)
        self._crop = self._crop + (1 - math.exp(-passed / self._following.smoothing_s)) * (self._held - self._crop)
        self._moved_s = seconds


def _glimpse(image: UInt8[NDArray[np.uint8], "h w 3"], box: Box) -> Float[NDArray[Any], "s s"]:
    """Greys of a box in a few pixels."""
    height, width = image.shape[:2]
    left, right = int(np.clip(box.left, 0, width - 1)), int(np.clip(box.right, 1, width))
    top, bottom = int(np.clip(box.top, 0, height - 1)), int(np.clip(box.bottom, 1, height))
    grey = Image.fromarray(image).crop((left, top, max(right, left + 1), max(bottom, top + 1))).convert("L")
    return np.asarray(grey.resize((_GLIMPSE_PX, _GLIMPSE_PX), Image.Resampling.BOX), dtype=np.float32)
