"""First pass over a video: where in it are clips. Streams, keeps no frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from synhead.data.video import VideoReader
from synhead.faces.analyzer import FaceDetector
from synhead.faces.boxes import SquareCrop
from synhead.faces.tracking import Track, Tracker, square_crop
from synhead.training.preparation.checks import SceneCuts
from synhead.training.preparation.options import Cause, PrepareOptions, Rejected


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """A clip to be cut: frames ``first`` to ``last`` of the video, both included, times in seconds."""

    track: int
    part: int
    first: int
    last: int
    begin_s: float
    end_s: float
    crop: SquareCrop
    face_px: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a video holds. ``rate``: frames a second."""

    frames: int
    rate: Fraction
    plans: tuple[ClipPlan, ...]
    rejected: tuple[Rejected, ...]


def scan_video(path: Path, detector: FaceDetector, options: PrepareOptions) -> Scan:
    """Tracks of the video, checked for length and size of the face and cut to length. Raises MediaError."""
    tracker, cuts = Tracker(options.min_overlap), SceneCuts(options.scene_cut)
    times: list[Fraction] = []
    since_cut = 0
    with VideoReader(path) as reader:
        rate = reader.info.rate
        for index, frame in enumerate(reader):
            if cuts.is_cut(frame.image):
                tracker.cut()
                since_cut = 0
            if since_cut % options.detect_every == 0:
                tracker.add(index, [face.box for face in detector.boxes(frame.image)])
            since_cut += 1
            times.append(frame.time)
    tracks = tracker.finish()
    plans: list[ClipPlan] = []
    rejected: list[Rejected] = []
    for number, track in enumerate(tracks):
        reason = _unfit(track, times, options)
        if reason:
            span = (float(times[track.frames[0]]), float(times[track.frames[-1]]))
            rejected.append(Rejected(str(path), *reason, span))
        else:
            plans += _parts(number, track, times, options)
    if not tracks:
        rejected.append(Rejected(str(path), "no face", "no face found"))
    return Scan(len(times), rate, tuple(plans), tuple(rejected))


def _unfit(track: Track, times: Sequence[Fraction], options: PrepareOptions) -> tuple[Cause, str] | None:
    seconds = float(times[track.frames[-1]] - times[track.frames[0]])
    if seconds < options.min_seconds:
        return "too short", f"track of {seconds:.2f} s, shorter than {options.min_seconds} s"
    face = min(box.height for box in track.boxes)
    if face < options.min_face_px:
        return "face too small", f"face of {face:.0f} px, smaller than {options.min_face_px} px"
    return None


def _parts(number: int, track: Track, times: Sequence[Fraction], options: PrepareOptions) -> list[ClipPlan]:
    """The track in equal parts of at most ``max_seconds``, each with its own crop."""
    first, last = track.frames[0], track.frames[-1]
    seconds = float(times[last] - times[first])
    count = max(1, math.ceil(seconds / options.max_seconds - 1e-6))
    edges = [first + round(i * (last + 1 - first) / count) for i in range(count + 1)]
    plans = []
    for part, (begin, end) in enumerate(pairwise(edges)):
        boxes = track.between(begin, end - 1)
        face_px = round(min(box.height for box in boxes))
        span = float(times[begin]), float(times[end - 1])
        plans.append(ClipPlan(number, part, begin, end - 1, *span, square_crop(boxes), face_px))
    return plans
