"""One report: what was measured, how, with which versions and weights, for each system, video and frame.

Made twice, it is the same byte for byte but for ``created``. Its form is ``report.schema.json``, beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any, Literal

from synhead.data.files import replacing
from synhead.data.records import Skipped
from synhead.evaluation.metrics import Metric

SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
FORMAT = "synhead-evaluation-1"
Origin = Literal["run by you", "published figure"]

_LIBRARIES = (
    *("synhead", "numpy", "torch", "pillow", "av", "mediapipe", "torchmetrics", "lpips", "face-alignment"),
    *("opencv-python", "opencv-contrib-python", "scikit-image", "insightface", "onnxruntime"),
)
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over ``frames`` frames, or a figure of a set of so many; None: nothing to measure it on."""

    value: float | None
    frames: int | None


@dataclass(frozen=True, slots=True)
class VideoFigures:
    """One video: means, and ``values[metric]``, one a frame of ``frames`` (their indices in the clip)."""

    name: str
    frames: tuple[int, ...]
    means: Mapping[str, float | None]
    values: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class SkippedFrame:
    """A frame left out of some metrics."""

    video: str
    frame: int
    metrics: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A system. ``problems``: videos left out, or measured in part only, and why.

    ``figures``: each over all frames of this system that could be measured. ``common``: of metrics that have a value a
    frame, over those frames alone that all systems of the report have one of.
    """

    system: str
    origin: Origin
    detail: str
    figures: Mapping[str, Figure]
    common: Mapping[str, Figure] = field(default_factory=dict)
    videos: tuple[VideoFigures, ...] = ()
    skipped: tuple[SkippedFrame, ...] = ()
    problems: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How frames were chosen and compared."""

    name: Literal["reconstruction", "reenactment", "score"]
    description: str
    frames: int | None
    size: int | None
    videos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``needs``: metric to what is missing to measure it. ``weights``: file to SHA-256. ``inputs``: unreadable ones."""

    created: str
    protocol: Protocol
    metrics: tuple[Metric, ...]
    needs: Mapping[str, str]
    rows: tuple[Row, ...]
    inputs: tuple[Skipped, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Readable JSON, numbers with nine significant digits; a figure that does not exist is null."""
        facts: dict[str, Any] = {
            "format": FORMAT,
            "created": self.created,
            "protocol": asdict(self.protocol),
            "versions": dict(sorted(self.versions.items())),
            "weights": dict(sorted(self.weights.items())),
            "notes": list(self.notes),
            "metrics": [_described(one, self.needs.get(one.id)) for one in self.metrics],
            "unreadable": [asdict(one) for one in self.inputs],
            "rows": [_row(one) for one in self.rows],
        }
        return json.dumps(_rounded(facts), indent=1, allow_nan=False) + "\n"


def write_report(report: Report, path: Path) -> None:
    """The JSON as a file, written whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(report.to_json(), encoding="utf-8")


def installed_versions() -> dict[str, str]:
    """Of Python and of the libraries that can take part in measuring."""
    found = {"python": python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def mean(values: Iterable[float | None]) -> Figure:
    """Of the values that exist."""
    known = [value for value in values if value is not None]
    return Figure(sum(known) / len(known) if known else None, len(known))


def _described(one: Metric, needs: str | None) -> dict[str, Any]:
    facts = asdict(one)
    facts["needs"] = [file["name"] for file in facts["needs"]]
    return facts | {"missing": needs}


def _row(row: Row) -> dict[str, Any]:
    counts = {
        "videos": len(row.videos),
        "frames": sum(len(video.frames) for video in row.videos),
        "skipped_frames": len({(one.video, one.frame) for one in row.skipped}),
        "problems": len(row.problems),
    }
    facts = asdict(row)
    return {name: facts[name] for name in ("system", "origin", "detail")} | {
        "counts": counts,
        **{name: facts[name] for name in ("figures", "common", "problems", "skipped", "videos")},
    }


def _rounded(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
