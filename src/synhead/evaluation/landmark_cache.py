"""Landmarks of the driving frames, found once and kept in a folder."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8

from synhead.data.files import replacing
from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.boxes import bounding_box
from synhead.faces.pose import head_pose
from synhead.types import NDArray

log = logging.getLogger(__name__)

Frames = UInt8[NDArray[np.uint8], "n h w 3"]
Faces = tuple[FaceLandmarks | None, ...]


class LandmarkCache:
    """One small npz a group of frames in ``folder``, named by a hash of the frames and of the analyzer's version.

    Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, version: str) -> None:
        self._folder, self._version = folder, version
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, frames: Frames) -> Faces | None:
        """What is known of these frames; None if nothing is."""
        path = self._path(frames)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path) as stored:
                points, depth, score = stored["points_px"], stored["depth_px"], stored["score"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            log.warning("%s is damaged (%s): landmarks are found again", path, error)
            return None
        return tuple(_restore(points[i], depth[i], float(score[i])) for i in range(len(score)))

    def put(self, frames: Frames, faces: Faces) -> None:
        """Keep what was found; frames without a face are kept as such."""
        path = self._path(frames)
        if path is None:
            return
        count = max((len(face.points_px) for face in faces if face), default=478)
        points, depth = (
            np.full((len(faces), count, 2), np.nan, np.float32),
            np.full((len(faces), count), np.nan, np.float32),
        )
        score = np.full(len(faces), np.nan)
        for i, face in enumerate(faces):
            if face is not None:
                points[i], depth[i], score[i] = face.points_px, face.depth_px, face.score
        with replacing(path) as temporary:
            np.savez(temporary, points_px=points, depth_px=depth, score=score)

    def _path(self, frames: Frames) -> Path | None:
        if self._folder is None:
            return None
        digest = hashlib.sha256(f"{self._version} {frames.shape}".encode())
        digest.update(np.ascontiguousarray(frames).tobytes())
        return self._folder / f"{digest.hexdigest()[:24]}.npz"


def _restore(points_px: NDArray[Any], depth_px: NDArray[Any], score: float) -> FaceLandmarks | None:
    if np.isnan(score):
        return None
    return FaceLandmarks(points_px, depth_px, bounding_box(points_px), score, head_pose(points_px, depth_px))
