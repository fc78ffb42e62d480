"""The default backend, mediapipe, in both of its shapes.

Series 0.10 up to 0.10.21 bundles its models behind ``mediapipe.solutions``; later ones have only the Tasks API, which
needs a ``.task`` model file. A model file, given or found, is preferred; else the bundled models are used.
"""

from __future__ import annotations

import importlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from synhead.faces.analyzer import AnalyzerOptions, FaceAnalyzer, FaceBox, FaceDetector, FaceError, FaceLandmarks
from synhead.faces.boxes import Box, bounding_box
from synhead.faces.native_log import silence_by_environment, silenced
from synhead.faces.pose import head_pose
from synhead.faces.task_file import LANDMARKER, WEIGHTS_VARIABLE, find_task_file
from synhead.types import NDArray

__all__ = ["find_task_file", "open_analyzer", "open_detector"]

Native = Any
"""An object of mediapipe, which has no usable types."""
Picture = UInt8[NDArray[np.uint8], "h w 3"]

_INSTALL = "install it with `pip install 'synhead[faces]'`"
_NO_MODEL = (
    f"this mediapipe bundles no face models: fetch {LANDMARKER.name} with `synhead animate --fetch-face-model`, put "
    f"it (SHA-256 {LANDMARKER.sha256}) into a folder named by {WEIGHTS_VARIABLE}, or `pip install 'mediapipe==0.10.21'`"
)
_FRAME_MS = 33
_CONFIDENCE = 0.5
"""Of a detection, in [0, 1], from which on it counts."""
_DETECTED = 8
"""Faces a picture at most."""
_DETECTOR_MARGIN = 0.06
"""The detector's boxes are square; so much of their width on either side is not face (median against landmarks)."""


def open_analyzer(options: AnalyzerOptions | None = None, *, model: Path | None = None) -> FaceAnalyzer:
    """A landmark finder. ``model``: a ``.task`` file; by default that of :func:`find_task_file`, else the bundled ones.

    Raises FaceError if mediapipe is missing or there is no model.
    """
    chosen = options or AnalyzerOptions()
    task = model or find_task_file()
    if task is not None:
        return _TaskAnalyzer(task, chosen)
    return _MeshAnalyzer(_solutions(), chosen)


def open_detector() -> FaceDetector:
    """A box finder that also sees small faces. Without the bundled detector, boxes are those of the landmarks.

    Raises FaceError if mediapipe is missing or there is no model.
    """
    task = find_task_file()
    if task is not None and getattr(_mediapipe(), "solutions", None) is None:
        return _TaskAnalyzer(task, AnalyzerOptions(faces=_DETECTED))
    return _BlazeDetector(_solutions())


def _mediapipe() -> Native:
    silence_by_environment()
    try:
        with silenced():
            module = importlib.import_module("mediapipe")
    except ImportError as error:
        raise FaceError(f"faces need mediapipe ({error}); {_INSTALL}") from error
    # its own calls into protobuf's old interface, once a frame
    warnings.filterwarnings("ignore", message=r"SymbolDatabase\.GetPrototype", module="google.protobuf")
    return module


def _solutions() -> Native:
    solutions = getattr(_mediapipe(), "solutions", None)
    if solutions is None:
        raise FaceError(_NO_MODEL)
    return solutions


class _Graph:
    """One mediapipe graph, built when the first picture comes: what it logs while starting, in threads of its own, is
    over when that picture is done, and is dropped.
    """

    def __init__(self, build: Callable[[], Native], process: Callable[[Native, Picture], Native]) -> None:
        self._build, self._process = build, process
        self._built: Native = None
        self._closed = False

    def __call__(self, image: Picture) -> Native:
        if self._closed:
            raise FaceError("this face analyzer is closed; open a new one")
        picture = np.ascontiguousarray(image)
        if self._built is not None:
            return self._process(self._built, picture)
        with silenced():
            self._built = self._build()
            return self._process(self._built, picture)

    def close(self) -> None:
        self._closed = True
        built, self._built = self._built, None
        if built is not None:
            built.close()


class _Backend:
    """What all have in common: a version, a graph, and closing."""

    def __init__(self, version: str, graph: _Graph) -> None:
        self._version, self._graph = version, graph

    @property
    def version(self) -> str:
        """See FaceAnalyzer."""
        return self._version

    def close(self) -> None:
        """Free the graph."""
        self._graph.close()


class _MeshAnalyzer(_Backend):
    """``mediapipe.solutions.face_mesh`` with irises: 478 points."""

    def __init__(self, solutions: Native, options: AnalyzerOptions) -> None:
        build = partial(
            solutions.face_mesh.FaceMesh,
            static_image_mode=options.mode == "image",
            max_num_faces=options.faces,
            refine_landmarks=True,
            min_detection_confidence=_CONFIDENCE,
        )
        version = f"mediapipe {_mediapipe().__version__} face_mesh refined, {options.mode} mode"
        super().__init__(version, _Graph(build, _process_solution))

    def landmarks(self, image: Picture) -> tuple[FaceLandmarks, ...]:
        """See FaceAnalyzer."""
        found = self._graph(image).multi_face_landmarks or ()
        return _largest_first(_to_landmarks(face.landmark, image) for face in found)


class _TaskAnalyzer(_Backend):
    """``mediapipe.tasks`` FaceLandmarker with a model file: 478 points."""

    def __init__(self, model: Path, options: AnalyzerOptions) -> None:
        if not model.is_file():
            raise FaceError(f"no face model {model}; give the path of a face_landmarker.task file")
        mediapipe = _mediapipe()
        clock_ms = itertools.count(step=_FRAME_MS)

        def process(landmarker: Native, image: Picture) -> Native:
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            if options.mode == "image":
                return landmarker.detect(picture)
            return landmarker.detect_for_video(picture, next(clock_ms))

        version = f"mediapipe {mediapipe.__version__} {model.name}, {options.mode} mode"
        super().__init__(version, _Graph(partial(_build_landmarker, model, options), process))

    def landmarks(self, image: Picture) -> tuple[FaceLandmarks, ...]:
        """See FaceAnalyzer."""
        return _largest_first(_to_landmarks(points, image) for points in self._graph(image).face_landmarks)

    def boxes(self, image: Picture) -> tuple[FaceBox, ...]:
        """See FaceDetector."""
        return tuple(
            FaceBox(face.box, face.score, face.pose.roll if face.pose else 0.0) for face in self.landmarks(image)
        )


class _BlazeDetector(_Backend):
    """``mediapipe.solutions.face_detection``, full range model: also faces of a tenth of the picture."""

    def __init__(self, solutions: Native) -> None:
        detection = solutions.face_detection.FaceDetection
        build = partial(detection, model_selection=1, min_detection_confidence=_CONFIDENCE)
        version = f"mediapipe {_mediapipe().__version__} face_detection full range"
        super().__init__(version, _Graph(build, _process_solution))

    def boxes(self, image: Picture) -> tuple[FaceBox, ...]:
        """See FaceDetector."""
        height, width = image.shape[:2]
        found = []
        for detection in self._graph(image).detections or ():
            relative = detection.location_data.relative_bounding_box
            left, top = relative.xmin * width, relative.ymin * height
            box = Box(left, top, left + relative.width * width, top + relative.height * height)
            box = box.grown(left=-_DETECTOR_MARGIN, right=-_DETECTOR_MARGIN)
            found.append(FaceBox(box, float(detection.score[0]), _eye_tilt(detection.location_data, image)))
        return tuple(sorted(found, key=lambda face: -face.box.area)[:_DETECTED])


def _eye_tilt(location: Native, image: Picture) -> float:
    """The first two key points of a detection are the eyes, that on the left of an upright picture first."""
    height, width = image.shape[:2]
    left, right = location.relative_keypoints[:2]
    return math.degrees(math.atan2((right.y - left.y) * height, (right.x - left.x) * width))


def _process_solution(solution: Native, image: Picture) -> Native:
    return solution.process(image)


def _build_landmarker(model: Path, options: AnalyzerOptions) -> Native:
    vision = importlib.import_module("mediapipe.tasks.python.vision")
    base_options = importlib.import_module("mediapipe.tasks.python").BaseOptions
    running = vision.RunningMode.IMAGE if options.mode == "image" else vision.RunningMode.VIDEO
    try:
        return vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=base_options(model_asset_path=str(model)),
                running_mode=running,
                num_faces=options.faces,
                min_face_detection_confidence=_CONFIDENCE,
            )
        )
    except (RuntimeError, ValueError) as error:
        raise FaceError(f"{model} is no face landmarker that mediapipe can open; download it again") from error


def _to_landmarks(points: Iterable[Native], image: Picture) -> FaceLandmarks:
    """mediapipe gives x and y as shares of the picture, z as a share of its width."""
    height, width = image.shape[:2]
    shares = np.array([(point.x, point.y, point.z) for point in points], dtype=np.float32)
    scaled: Float[NDArray[Any], "n 3"] = shares * np.array([width, height, width], dtype=np.float32)
    points_px, depth_px = scaled[:, :2].copy(), scaled[:, 2].copy()
    return FaceLandmarks(points_px, depth_px, bounding_box(points_px), 1.0, head_pose(points_px, depth_px))


def _largest_first(faces: Iterable[FaceLandmarks]) -> tuple[FaceLandmarks, ...]:
    return tuple(sorted(faces, key=lambda face: -face.box.area))
