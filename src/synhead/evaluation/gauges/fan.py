"""AKD: distances of the 68 points that face-alignment's 2D network finds."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from synhead.evaluation.gauges.gauge import FrameGauge, Frames, Picture, Readings, Remembered, paired
from synhead.evaluation.trials import Trial
from synhead.evaluation.weight_files import FAN, S3FD, UnavailableError, WeightFolder, read_state
from synhead.types import NDArray

Points = Float[NDArray[Any], "68 2"]
Landmarker = Callable[[Picture], "Points | None"]
"""One RGB picture to the points of its first face in pixels, or None."""

_INSTALL = "needs the package face-alignment 1.5 or newer: pip install 'synhead[evaluation]'"


class FanGauge(FrameGauge):
    """Against the driving frames."""

    metrics: tuple[str, ...] = ("akd.published", "akd.standard")

    def __init__(self, landmarker: Landmarker) -> None:
        self._landmarker = landmarker
        self._driving = Remembered(self._points)

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """See Gauge."""
        found = zip(self._points(generated), self._driving(trial.driving), strict=True)
        return paired(self.metrics, found, keypoint_distances)

    def _points(self, frames: Frames) -> tuple[Points | None, ...]:
        return tuple(self._landmarker(frame) for frame in frames)


def keypoint_distances(first: Points, second: Points) -> tuple[float, float]:
    """Mean over all coordinates of the absolute difference, and mean over points of the Euclidean distance."""
    difference = first.astype(np.float64) - second.astype(np.float64)
    return float(np.abs(difference).mean()), float(np.linalg.norm(difference, axis=1).mean())


def open_fan(weights: WeightFolder, device: torch.device) -> FanGauge:
    """Raises UnavailableError naming the files or the package that are missing."""
    network, detector = weights.require((FAN, S3FD))
    return FanGauge(_landmarker(network, detector, device))


def _landmarker(network: Path, detector: Path, device: torch.device) -> Landmarker:
    try:
        library: Any = import_module("face_alignment")
        build: Any = import_module("face_alignment.models").FAN
    except ImportError as error:
        raise UnavailableError(_INSTALL) from error
    if not hasattr(library.FaceAlignment, "_load_native"):  # older ones run TorchScript from a file
        raise UnavailableError(_INSTALL)

    class LocalAlignment(library.FaceAlignment):  # type: ignore[misc]  # untyped library
        """The library's class, with its network read from the given file instead of downloaded."""

        def _load_native(self, name: str, size: int, device: str, dtype: torch.dtype) -> torch.nn.Module:
            del name
            net: torch.nn.Module = build(size)
            net.load_state_dict(dict(read_state(network)))
            return net.to(device, dtype=dtype).eval()

    found = LocalAlignment(
        library.LandmarksType.TWO_D,
        device=str(device),
        flip_input=False,
        face_detector_kwargs={"path_to_detector": str(detector)},
        compile=False,
    )

    def landmarks(picture: Picture) -> Points | None:
        faces = found.get_landmarks_from_image(picture)
        return np.asarray(faces[0])[:, :2] if faces else None

    return landmarks
