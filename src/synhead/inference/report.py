"""What an animation was: for the person at the terminal, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

from synhead.data.audio import AudioMode
from synhead.faces.crops import Crop

Spans = tuple[tuple[int, int], ...]
"""Runs of frame indices, first and last both included."""

SHOWN_RUNS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSeconds:
    """Busy time of each stage: reading (both passes of a video in which faces are looked for), finding faces, the
    model, pasting back, encoding. Reading ahead overlaps the others, so that the sum may exceed the time that passed.
    """

    decode: float
    faces: float
    model: float
    paste: float
    encode: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CropFact:
    """A square the model saw, at the first frame: its centre and side in pixels of its picture, tilt in degrees.

    ``face``: number of the face from the left, None if no face was looked for. ``moves``: whether it follows the face.
    """

    x: float
    y: float
    side: float
    tilt: float = 0.0
    face: int | None = None
    moves: bool = False

    @classmethod
    def of(cls, crop: Crop, *, face: int | None = None, moves: bool = False) -> CropFact:
        """Of a crop."""
        return cls(x=crop.x, y=crop.y, side=crop.side, tilt=crop.tilt, face=face, moves=moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimationReport:
    """``frames``: written. ``skipped``: frames that were damaged. ``size``: (width, height) of the output. ``pasted``:
    whether it shows the whole source. ``marked``: IPTC's digital source type that it carries.

    ``reference``: driving frame that relative motion starts from. ``faceless``, ``source_faceless``: frames of the
    driving and the source video in which the followed face was not seen; the crop stayed where it was. ``engine``: that
    ran the model, in which ``precision``. ``warnings``: one line each.
    """

    frames: int
    skipped: int
    rate: Fraction
    size: tuple[int, int]
    pasted: bool
    audio: AudioMode
    marked: str
    source_crops: tuple[CropFact, ...]
    driving_crop: CropFact | None
    reference: int
    reference_reason: str
    faceless: Spans
    source_faceless: Spans
    engine: str
    precision: str
    warnings: tuple[str, ...]
    seconds: StageSeconds

    def to_json(self) -> str:
        """As a JSON object; the frame rate is a fraction in text, such as "30000/1001"."""
        return json.dumps(asdict(self), indent=2, default=str)


def spans(frames: Sequence[int]) -> Spans:
    """Growing indices as runs: 3, 4, 5, 9 are (3, 5) and (9, 9)."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    return tuple(runs)


def summary(frames: Sequence[int]) -> str:
    """For people: "3-5, 9", and how many more runs there are."""
    runs = spans(frames)
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:SHOWN_RUNS]]
    more = f" and {len(runs) - SHOWN_RUNS} more runs" if len(runs) > SHOWN_RUNS else ""
    return ", ".join(texts) + more
