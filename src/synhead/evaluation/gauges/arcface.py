"""Identity: the cosine of insightface's antelopev2 embeddings. Its models are for non-commercial use only."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from synhead.evaluation.gauges.gauge import FrameGauge, Frames, Picture, Readings, Remembered, paired
from synhead.evaluation.trials import Trial
from synhead.evaluation.weight_files import GLINTR100, SCRFD, UnavailableError, WeightFolder
from synhead.types import NDArray

Embedding = Float[NDArray[Any], " d"]
Embedder = Callable[[Picture], "Embedding | None"]
"""One RGB picture to the embedding of its first face, of any length, or None."""

_DETECTOR_PX = (640, 640)


class ArcFaceGauge(FrameGauge):
    """Against the driving frames, or across identities against the source."""

    metrics: tuple[str, ...] = ("identity",)

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._driving = Remembered(self._embeddings)

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """See Gauge."""
        if trial.same_identity:
            wanted = self._driving(trial.driving)
        else:
            wanted = self._embeddings(trial.source[None]) * len(generated)
        return paired(self.metrics, zip(self._embeddings(generated), wanted, strict=True), cosine)

    def _embeddings(self, frames: Frames) -> tuple[Embedding | None, ...]:
        return tuple(self._embedder(frame) for frame in frames)


def cosine(first: Embedding, second: Embedding) -> tuple[float]:
    """Of the angle between two vectors."""
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return (float(first.astype(np.float64) @ second.astype(np.float64)) / lengths,)


def open_arcface(weights: WeightFolder, device: torch.device) -> ArcFaceGauge:
    """Raises UnavailableError naming the files or the package that are missing."""
    detector_path, embedder_path = weights.require((SCRFD, GLINTR100))
    try:
        zoo: Any = import_module("insightface.model_zoo")
        face_type: Any = import_module("insightface.app.common").Face
    except ImportError as error:
        raise UnavailableError("needs the package insightface: pip install insightface onnxruntime") from error
    providers = ["CUDAExecutionProvider"] if device.type == "cuda" else ["CPUExecutionProvider"]
    where = (device.index or 0) if device.type == "cuda" else -1
    detector = zoo.get_model(str(detector_path), providers=providers)
    detector.prepare(where, input_size=_DETECTOR_PX)
    embedder = zoo.get_model(str(embedder_path), providers=providers)
    embedder.prepare(where)

    def embedding(picture: Picture) -> Embedding | None:
        bgr = np.ascontiguousarray(picture[..., ::-1])
        boxes, points = detector.detect(bgr)
        if len(boxes) == 0:
            return None
        return np.asarray(embedder.get(bgr, face_type(bbox=boxes[0, :4], kps=points[0], det_score=boxes[0, 4])))

    return ArcFaceGauge(embedding)
