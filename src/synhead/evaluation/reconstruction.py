"""Same-identity reconstruction in one call, with the metrics that need no weights: for use while a model is made."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from synhead.data.files import replacing
from synhead.evaluation.gauges.mesh import MeshGauge
from synhead.evaluation.gauges.pixels import PixelGauge
from synhead.evaluation.landmark_cache import LandmarkCache
from synhead.evaluation.renderers import Render
from synhead.evaluation.report import Row
from synhead.evaluation.scoring import score_systems
from synhead.evaluation.systems import RenderedSystem, System
from synhead.evaluation.trials import Trial

_METRICS = ("psnr", "l1", "ssim", "akd.mediapipe", "mouth.mediapipe", "eyes.mediapipe", "pose.mediapipe")


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
class ReconstructionReport:
    """What ``method`` scores. ``detector``: backend and version of the landmarks; other ones give other figures.

    ``faceless``: ``clip/index`` of frames whose rendering or driving frame shows no face.
    """

    method: str
    detector: str
    frames: int
    figures: Figures
    faceless: tuple[str, ...]

    def to_json(self) -> str:
        """Readable JSON; a figure that does not exist is null."""
        facts = asdict(self)
        facts["figures"] = {name: None if math.isnan(value) else value for name, value in facts["figures"].items()}
        return json.dumps(facts, indent=2, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """The JSON as a file, written whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")


def reconstruct(
    method: str, render: Render, trials: Sequence[Trial], *, cache: Path | None = None, workers: int = 2
) -> ReconstructionReport:
    """Render and score. ``cache``: folder for the driving frames' landmarks.

    Raises ValueError if a rendering has the wrong size or ``trials`` is empty, FaceError if landmarks cannot be found
    here.
    """
    return score(RenderedSystem(method, "", lambda trial: render(trial.source, trial.driving)), trials, cache, workers)


def score(system: System, trials: Sequence[Trial], cache: Path | None = None, workers: int = 2) -> ReconstructionReport:
    """The same of any system. Raises as :func:`reconstruct`, ValueError too where a trial has no usable result."""
    if not trials:
        raise ValueError("no clip to measure; give clips of at least two frames")
    with closing(MeshGauge(workers=workers)) as mesh:
        mesh.remember_in(LandmarkCache(cache, mesh.detector))
        (row,), _ = score_systems(trials, [system], (PixelGauge(), mesh), _METRICS)
    if row.problems:
        raise ValueError(f"clip {row.problems[0].name}: {row.problems[0].reason}")
    return ReconstructionReport(
        system.name,
        mesh.detector,
        frames=sum(len(video.frames) for video in row.videos),
        figures=Figures(*(_value(row, name) for name in _METRICS)),
        faceless=tuple(f"{one.video}/{one.frame}" for one in row.skipped if "akd.mediapipe" in one.metrics),
    )


def _value(row: Row, name: str) -> float:
    value = row.figures[name].value
    return math.nan if value is None else value
