"""Head pose and expression from MediaPipe's face landmarker with blendshapes, which needs its ``.task`` file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from synhead.evaluation.gauges.gauge import FrameGauge, Frames, Picture, Readings, Remembered, paired
from synhead.evaluation.trials import Trial
from synhead.evaluation.weight_files import FACE_TASK, UnavailableError, WeightFolder
from synhead.types import NDArray


@dataclass(frozen=True, slots=True)
class FaceState:
    """``matrix``: MediaPipe's pose of the face. ``blendshapes``: 52 scores in [0, 1]."""

    matrix: Float[NDArray[Any], "4 4"]
    blendshapes: Float[NDArray[Any], " scores"]


Finder = Callable[[Picture], "FaceState | None"]


class FaceTaskGauge(FrameGauge):
    """Against the driving frames. ``free``: called at the end."""

    metrics: tuple[str, ...] = ("pose", "expression")

    def __init__(self, finder: Finder, free: Callable[[], None] = lambda: None) -> None:
        self._finder, self._free = finder, free
        self._driving = Remembered(self._states)

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """See Gauge."""
        found = zip(self._states(generated), self._driving(trial.driving), strict=True)
        return paired(self.metrics, found, state_errors)

    def close(self) -> None:
        """See Gauge."""
        self._free()

    def _states(self, frames: Frames) -> tuple[FaceState | None, ...]:
        return tuple(self._finder(frame) for frame in frames)


def state_errors(first: FaceState, second: FaceState) -> tuple[float, float]:
    """Mean absolute difference of the three angles (degrees, not the short way round, as published), and of scores."""
    angles = np.abs(np.subtract(euler_xyz_deg(first.matrix), euler_xyz_deg(second.matrix)))
    return float(angles.mean()), float(np.abs(first.blendshapes - second.blendshapes).mean())


def euler_xyz_deg(matrix: Float[NDArray[Any], "4 4"]) -> tuple[float, float, float]:
    """Angles about the fixed axes x, then y, then z, of the rotation nearest to the upper left 3 x 3."""
    left, _, right = np.linalg.svd(matrix[:3, :3].astype(np.float64))
    r = left @ right
    x, z = math.atan2(r[2, 1], r[2, 2]), math.atan2(r[1, 0], r[0, 0])
    y = math.asin(max(-1.0, min(1.0, -r[2, 0])))
    return math.degrees(x), math.degrees(y), math.degrees(z)


def open_face_task(weights: WeightFolder, device: torch.device) -> FaceTaskGauge:
    """On the CPU whatever the device. Raises UnavailableError naming the file or package that is missing."""
    del device
    (path,) = weights.require((FACE_TASK,))
    try:
        mediapipe: Any = import_module("mediapipe")
        tasks: Any = import_module("mediapipe.tasks.python")
        vision: Any = import_module("mediapipe.tasks.python.vision")
    except ImportError as error:
        raise UnavailableError("needs the package mediapipe: pip install 'synhead[faces]'") from error
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(path)),
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
        num_faces=1,
    )
    try:
        landmarker = vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise UnavailableError(f"{path} is no face landmarker that mediapipe can open: download it again") from error

    def find(picture: Picture) -> FaceState | None:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        found = landmarker.detect(image)
        if not found.face_blendshapes or not found.facial_transformation_matrixes:
            return None
        scores = np.array([one.score for one in found.face_blendshapes[0]], dtype=np.float64)
        return FaceState(np.asarray(found.facial_transformation_matrixes[0], dtype=np.float64), scores)

    return FaceTaskGauge(find, landmarker.close)
