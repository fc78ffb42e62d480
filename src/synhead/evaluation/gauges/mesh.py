"""The stand-ins: landmarks, openings and head pose from MediaPipe's face mesh, whose models its wheel brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue

from synhead.evaluation.face_metrics import compare_faces
from synhead.evaluation.gauges.gauge import FrameGauge, Frames, Picture, Readings, Remembered, paired
from synhead.evaluation.landmark_cache import LandmarkCache
from synhead.evaluation.trials import Trial
from synhead.evaluation.weight_files import UnavailableError, WeightFolder
from synhead.faces.analyzer import FaceAnalyzer, FaceError, FaceLandmarks
from synhead.faces.mediapipe_backend import find_task_file, open_analyzer
from synhead.weights.hub import file_sha256

_BUNDLED = (
    "face_detection/face_detection_short_range.tflite",
    "face_landmark/face_landmark_with_attention.tflite",
)
Faces = tuple[FaceLandmarks | None, ...]


class MeshGauge(FrameGauge):
    """Against the driving frames. ``workers`` analyzers stay open; MediaPipe computes without the interpreter's lock.

    Raises FaceError if MediaPipe or its models are missing.
    """

    metrics: tuple[str, ...] = ("akd.mediapipe", "mouth.mediapipe", "eyes.mediapipe", "pose.mediapipe")

    def __init__(self, *, workers: int = 2, opener: Callable[[], FaceAnalyzer] = open_analyzer) -> None:
        self._stack = ExitStack()
        self._idle: SimpleQueue[FaceAnalyzer] = SimpleQueue()
        for _ in range(max(1, workers)):
            analyzer = opener()
            self._stack.enter_context(closing(analyzer))
            self._idle.put(analyzer)
            self.detector = analyzer.version
        self._pool = self._stack.enter_context(ThreadPoolExecutor(max(1, workers)))
        self._cache = LandmarkCache(None, self.detector)
        self._driving = Remembered(self._known_faces)

    def remember_in(self, cache: LandmarkCache) -> None:
        """Keep the driving frames' faces there, for later runs."""
        self._cache = cache

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """See Gauge."""
        found = tuple(zip(self.faces(generated), self._driving(trial.driving), strict=True))
        return paired(self.metrics, found, _errors)

    def faces(self, frames: Frames) -> Faces:
        """The largest face of each frame; equal frames, as of a still, are analysed once."""
        keys = [frame.tobytes() for frame in frames]
        unique = {key: index for index, key in reversed(list(enumerate(keys)))}
        known = dict(zip(unique, self._analysed(frames, list(unique.values())), strict=True))
        return tuple(known[key] for key in keys)

    def close(self) -> None:
        """See Gauge."""
        self._stack.close()

    def _known_faces(self, frames: Frames) -> Faces:
        kept = self._cache.get(frames)
        if kept is None:
            kept = self.faces(frames)
            self._cache.put(frames, kept)
        return kept

    def _analysed(self, frames: Frames, indices: Sequence[int]) -> Faces:
        return tuple(self._pool.map(lambda index: self._largest(frames[index]), indices))

    def _largest(self, picture: Picture) -> FaceLandmarks | None:
        analyzer = self._idle.get()
        try:
            return next(iter(analyzer.landmarks(picture)), None)
        finally:
            self._idle.put(analyzer)


def open_mesh(weights: WeightFolder, workers: int, opener: Callable[[], FaceAnalyzer] = open_analyzer) -> MeshGauge:
    """Notes the models used with the other weights. Raises UnavailableError if MediaPipe or its models are missing."""
    try:
        gauge = MeshGauge(workers=workers, opener=opener)
        task = find_task_file()
    except FaceError as error:
        raise UnavailableError(f"needs MediaPipe's face mesh: {error}") from error
    for path in (task,) if task else _bundled():
        weights.used[path.name] = file_sha256(path)
    return gauge


def _bundled() -> tuple[Path, ...]:
    spec = find_spec("mediapipe")
    roots = (spec.submodule_search_locations or ()) if spec else ()
    places = [Path(root) / "modules" / name for root in roots for name in _BUNDLED]
    return tuple(path for path in places if path.is_file())


def _errors(result: FaceLandmarks, driving: FaceLandmarks) -> tuple[float, ...]:
    errors = compare_faces(result, driving)
    return errors.landmark_distance_px, errors.mouth_opening, errors.eye_opening, errors.pose_deg
