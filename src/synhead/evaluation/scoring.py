"""Systems over trials: each trial is read once, every system makes its frames, every gauge measures them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from synhead.data.records import Skipped
from synhead.evaluation.common_frames import on_common_frames
from synhead.evaluation.gauges.gauge import Features, Frames, Gauge, Skip
from synhead.evaluation.report import Figure, Row, SkippedFrame, VideoFigures, mean
from synhead.evaluation.systems import ResultError, System
from synhead.evaluation.trials import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Observers:
    """Who is told on the way: ``progress`` of frames measured, ``result`` of every system's frames."""

    progress: Callable[[int], None] = lambda _: None
    result: Callable[[Trial, System, Frames], None] = lambda _trial, _system, _frames: None


@dataclass(slots=True)
class _Tally:
    """What one system has scored so far."""

    system: System
    videos: list[VideoFigures] = field(default_factory=list)
    skipped: list[SkippedFrame] = field(default_factory=list)
    problems: list[Skipped] = field(default_factory=list)
    features: dict[str, list[Features]] = field(default_factory=dict)


def score_systems(
    trials: Iterable[Trial | Skipped],
    systems: Sequence[System],
    gauges: Sequence[Gauge],
    wanted: Sequence[str],
    observers: Observers | None = None,
) -> tuple[tuple[Row, ...], tuple[Skipped, ...]]:
    """One row a system, and the inputs that could not be read. ``wanted``: metrics of the report, in order.

    Videos stand sorted by name, so that the order of the trials does not matter.
    """
    told = observers or Observers()
    tallies = [_Tally(system) for system in systems]
    unreadable: list[Skipped] = []
    done = 0
    for trial in trials:
        if isinstance(trial, Skipped):
            unreadable.append(trial)
            continue
        for tally in tallies:
            _measure(tally, trial, gauges, wanted, told)
            done += len(trial.driving)
            told.progress(done)
    rows = on_common_frames([_row(tally, gauges, wanted) for tally in tallies])
    return rows, tuple(sorted(unreadable, key=lambda one: one.name))


def _measure(tally: _Tally, trial: Trial, gauges: Sequence[Gauge], wanted: Sequence[str], told: Observers) -> None:
    try:
        frames = tally.system.frames(trial)
        compared, note = _matched(trial, frames)
    except ResultError as error:
        tally.problems.append(Skipped(trial.name, str(error)))
        return
    if note:
        tally.problems.append(Skipped(trial.name, note))
        frames = frames[: len(compared.driving)]
    told.result(compared, tally.system, frames)
    values: dict[str, tuple[float | None, ...]] = {}
    for gauge in gauges:
        readings = gauge.measure(compared, frames)
        values |= readings.values
        tally.skipped += _skips(trial, readings.skips, wanted)
        for name, rows in readings.features.items():
            tally.features.setdefault(name, []).append(rows)
    kept = {name: values[name] for name in wanted if name in values}
    means = {name: mean(column).value for name, column in kept.items()}
    tally.videos.append(VideoFigures(trial.name, compared.indices, means, kept))


def _matched(trial: Trial, frames: Frames) -> tuple[Trial, str]:
    """The trial cut to the frames there are, and what had to be cut. Raises ResultError."""
    if frames.shape[1:] != trial.driving.shape[1:]:
        (height, width), (wanted_height, wanted_width) = frames.shape[1:3], trial.driving.shape[1:3]
        raise ResultError(
            f"frames of {width}x{height} instead of {wanted_width}x{wanted_height}; resize both with --size"
        )
    count = min(len(frames), len(trial.driving))
    if len(frames) == len(trial.driving):
        return trial, ""
    note = f"{len(frames)} frames for {len(trial.driving)}; the first {count} are compared"
    cut = Trial(
        trial.name, trial.source, trial.driving[:count], trial.indices[:count], trial.reference, trial.clip_frames
    )
    return cut, note


def _skips(trial: Trial, skips: Iterable[Skip], wanted: Sequence[str]) -> list[SkippedFrame]:
    found = []
    for skip in skips:
        metrics = tuple(name for name in skip.metrics if name in wanted)
        if metrics:
            found.append(SkippedFrame(trial.name, trial.indices[skip.frame], metrics, skip.reason))
    return found


def _row(tally: _Tally, gauges: Sequence[Gauge], wanted: Sequence[str]) -> Row:
    order = sorted(range(len(tally.videos)), key=lambda index: tally.videos[index].name)
    videos = tuple(tally.videos[index] for index in order)
    features = {name: np.concatenate([parts[i] for i in order]) for name, parts in tally.features.items()}
    figures: dict[str, Figure] = {}
    for name in wanted:
        columns = [video.values[name] for video in videos if name in video.values]
        if columns:
            figures[name] = mean(value for column in columns for value in column)
    for gauge in gauges:
        for name, value in gauge.totals(features).items():
            if name in wanted:
                figures[name] = Figure(value, len(features["generated"]))
    return Row(
        system=tally.system.name,
        origin="run by you",
        detail=tally.system.detail,
        figures={name: figures[name] for name in wanted if name in figures},
        videos=videos,
        skipped=tuple(sorted(tally.skipped, key=lambda one: (one.video, one.frame, one.metrics))),
        problems=tuple(sorted(tally.problems, key=lambda one: one.name)),
    )
