"""What the search for a reference frame sees of each driving frame, kept to the last bit in about two kilobytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int16
from torch import Tensor

from synhead.data.image import RgbImage
from synhead.faces.analyzer import FaceAnalyzer
from synhead.faces.pose import HeadPose
from synhead.inference.face_shape import POINT_STEP, POINTS, FaceShape, Openings, face_shape
from synhead.types import NDArray

MEASURES = 5
"""Mouth, eyes, yaw, pitch, roll."""
_UNKNOWN = (math.nan,) * MEASURES


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFaces:
    """The face shapes of all frames of a clip.

    ``points``: in steps of POINT_STEP. ``measures``: see MEASURES; NaN for a pose that is unknown, and all NaN in a
    frame without a face. ``analyzer``: version of what found the landmarks. ``announced``: frames that the clip's
    container promises, by which the search chooses its step.
    """

    points: Int16[Tensor, "frames n 2"]
    measures: Float64[Tensor, "frames m"]
    analyzer: str
    announced: int | None = None

    def __len__(self) -> int:
        return self.points.shape[0]

    @property
    def found(self) -> int:
        """Frames with a face."""
        return int(self.measures[:, 0].isfinite().sum())

    @property
    def sound(self) -> bool:
        """Whether every number is there that must be; files may hold others."""
        known = self.measures.isfinite()
        mouth, eyes, pose = known[:, 0], known[:, 1], known[:, 2:]
        whole = (mouth == eyes) & (pose.all(dim=1) | ~pose.any(dim=1)) & (mouth | ~pose.any(dim=1))
        return bool(whole.all()) and (self.announced or 0) >= 0

    def shape(self, index: int) -> FaceShape | None:
        """As face_shape gave it; None for a frame without a face."""
        mouth, eyes, *angles = self.measures[index].tolist()
        if math.isnan(mouth):
            return None
        pose = None if math.isnan(angles[0]) else HeadPose(*angles)
        return FaceShape(self.points[index].double().numpy() * POINT_STEP, pose, Openings(mouth=mouth, eyes=eyes))


class FaceRecorder:
    """Looks at the squares of a clip, one after another. ``analyzer``: in image mode, as the search's."""

    def __init__(self, analyzer: FaceAnalyzer) -> None:
        self._analyzer = analyzer
        self._points: list[Int16[NDArray[Any], "n 2"]] = []
        self._measures: list[tuple[float, ...]] = []

    def add(self, square: RgbImage) -> None:
        """The largest face counts."""
        face = next(iter(self._analyzer.landmarks(square)), None)
        if face is None:
            self._points.append(np.zeros((POINTS, 2), dtype=np.int16))
            self._measures.append(_UNKNOWN)
            return
        shape = face_shape(face)
        pose = _UNKNOWN[2:] if shape.pose is None else (shape.pose.yaw, shape.pose.pitch, shape.pose.roll)
        self._points.append((shape.points / POINT_STEP).astype(np.int16))
        self._measures.append((shape.openings.mouth, shape.openings.eyes, *pose))

    def faces(self, announced: int | None) -> RecordedFaces:
        """Of all squares so far, of which there must be one."""
        return RecordedFaces(
            points=torch.from_numpy(np.stack(self._points)),
            measures=torch.tensor(self._measures, dtype=torch.float64),
            analyzer=self._analyzer.version,
            announced=announced,
        )
