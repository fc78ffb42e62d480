"""Same-identity reconstruction: render each trial's driving frames from its source, and measure against them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from synhead.data.files import replacing
from synhead.evaluation.face_metrics import compare_faces
from synhead.evaluation.image_metrics import l1, psnr_db, ssim
from synhead.evaluation.landmark_cache import LandmarkCache
from synhead.evaluation.renderers import Render
from synhead.evaluation.trials import Trial
from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.batch import largest_faces
from synhead.faces.mediapipe_backend import open_analyzer
from synhead.types import NDArray

__all__ = ["ClipFigures", "Figures", "ReconstructionReport", "reconstruct", "render_trials", "score_trials"]

Frames = UInt8[NDArray[np.uint8], "_ _ _ 3"]
Faces = tuple[FaceLandmarks | None, ...]
FaceFinder = Callable[[Sequence[Frames]], Iterator[Faces]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over frames; the face figures over frames with a face on both sides, NaN if there is none.

    ``landmark_distance_px``: in pixels of the frames, which are 256 wide in the protocol. ``pose_error_deg``: mean
    over yaw, pitch and roll.
    """

    psnr_db: float
    l1: float
    ssim: float
    landmark_distance_px: float
    mouth_opening_error: float
    eye_opening_error: float
    pose_error_deg: float


@dataclass(frozen=True, slots=True)
class ClipFigures:
    """Figures of one clip. ``faceless``: ``clip/index`` of frames whose rendering or driving frame shows no face."""

    clip: str
    frames: int
    figures: Figures
    faceless: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReconstructionReport:
    """What ``method`` scores. ``detector``: backend and version of the landmarks; other ones give other figures."""

    method: str
    detector: str
    frames: int
    figures: Figures
    faceless: tuple[str, ...]
    clips: tuple[ClipFigures, ...]

    def to_json(self) -> str:
        """Readable JSON; a figure that does not exist is null."""
        return json.dumps(_without_nan(asdict(self)), indent=2, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """The JSON as a file, written whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_text(self.to_json())


@dataclass(frozen=True, slots=True)
class _FrameFigures:
    name: str
    values: tuple[float, ...]
    has_face: bool


def reconstruct(
    method: str, render: Render, trials: Sequence[Trial], *, cache: Path | None = None, workers: int = 2
) -> ReconstructionReport:
    """Render and score. Raises ValueError if a rendering has the wrong size or ``trials`` is empty."""
    return score_trials(method, trials, render_trials(render, trials), cache=cache, workers=workers)


def render_trials(render: Render, trials: Iterable[Trial]) -> dict[str, Frames]:
    """Rendered frames by trial name, in the order of the trials."""
    return {trial.name: render(trial.source, trial.driving) for trial in trials}


def score_trials(
    method: str,
    trials: Sequence[Trial],
    generated: Mapping[str, Frames],
    *,
    cache: Path | None = None,
    workers: int = 2,
) -> ReconstructionReport:
    """Measure rendered frames against the driving frames. ``cache``: folder for the driving frames' landmarks.

    Raises ValueError if frames are missing or of the wrong size, FaceError if landmarks cannot be found here.
    """
    if not trials:
        raise ValueError("no clip to measure; give clips of at least two frames")
    for trial in trials:
        _require_same_shape(trial, generated)
    with closing(open_analyzer()) as analyzer:
        version = analyzer.version
    known = LandmarkCache(cache, version)
    driving = _cached_faces([trial.driving for trial in trials], known, workers)
    rendered = _cached_faces([generated[trial.name] for trial in trials], LandmarkCache(None, version), workers)
    per_clip = [
        _frame_figures(trial, generated[trial.name], faces, wanted)
        for trial, faces, wanted in zip(trials, rendered, driving, strict=True)
    ]
    every = [frame for frames in per_clip for frame in frames]
    clips = tuple(
        ClipFigures(trial.name, len(frames), _mean(frames), _faceless(frames))
        for trial, frames in zip(trials, per_clip, strict=True)
    )
    return ReconstructionReport(method, version, len(every), _mean(every), _faceless(every), clips)


def _require_same_shape(trial: Trial, generated: Mapping[str, Frames]) -> None:
    frames = generated.get(trial.name)
    if frames is None:
        raise ValueError(f"no rendered frames of clip {trial.name}; render them from the same clips")
    if frames.shape != trial.driving.shape:
        raise ValueError(
            f"clip {trial.name}: rendered {frames.shape}, expected {trial.driving.shape}; render them again"
        )


def _cached_faces(groups: Sequence[Frames], cache: LandmarkCache, workers: int) -> list[Faces]:
    known = [cache.get(group) for group in groups]
    unknown = [group for group, faces in zip(groups, known, strict=True) if faces is None]
    found = largest_faces(unknown, workers=workers)
    complete: list[Faces] = []
    for group, kept in zip(groups, known, strict=True):
        if kept is None:
            faces = next(found)
            cache.put(group, faces)
            complete.append(faces)
        else:
            complete.append(kept)
    return complete


def _frame_figures(trial: Trial, generated: Frames, faces: Faces, wanted: Faces) -> list[_FrameFigures]:
    figures = []
    for i, (picture, target) in enumerate(zip(generated, trial.driving, strict=True)):
        values = [psnr_db(picture, target), l1(picture, target), ssim(picture, target)]
        face, driving = faces[i], wanted[i]
        has_face = face is not None and driving is not None
        if face is not None and driving is not None:
            errors = compare_faces(face, driving)
            values += [errors.landmark_distance_px, errors.mouth_opening, errors.eye_opening, errors.pose_deg]
        else:
            values += [math.nan] * 4
        figures.append(_FrameFigures(trial.frame_name(i), tuple(values), has_face))
    return figures


def _mean(frames: Sequence[_FrameFigures]) -> Figures:
    table = np.array([frame.values for frame in frames], dtype=np.float64)
    known = ~np.isnan(table)
    counts = known.sum(axis=0)
    sums = np.where(known, table, 0.0).sum(axis=0)
    means = [float(total / count) if count else math.nan for total, count in zip(sums, counts, strict=True)]
    return Figures(*means)


def _faceless(frames: Sequence[_FrameFigures]) -> tuple[str, ...]:
    return tuple(frame.name for frame in frames if not frame.has_face)


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
