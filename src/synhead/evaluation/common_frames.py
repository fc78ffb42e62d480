"""Means over the same frames for all systems: one that destroys faces is else measured on the easier frames alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from synhead.evaluation.report import Row, mean

Place = tuple[str, int]
"""A frame: the video's name, and its index in the clip."""


def on_common_frames(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with ``common`` filled in, for each of their metrics that has a value a frame.

    A row without any value of a metric does not narrow the others' frames, and has no figure on them.
    """
    known = [_values(row) for row in rows]
    shared: dict[str, set[Place]] = {}
    for metrics in known:
        for name, values in metrics.items():
            if values:
                shared[name] = shared.get(name, set(values)) & values.keys()
    return tuple(
        replace(row, common={name: mean(_at(values, shared.get(name, ()))) for name, values in metrics.items()})
        for row, metrics in zip(rows, known, strict=True)
    )


def frames_of(rows: Sequence[Row]) -> int:
    """Frames that at least one row has a result for."""
    return len({(video.name, frame) for row in rows for video in row.videos for frame in video.frames})


def _values(row: Row) -> Mapping[str, Mapping[Place, float]]:
    """By metric and frame, in the order of the videos; frames without a value are left out."""
    found: dict[str, dict[Place, float]] = {}
    for video in row.videos:
        for name, column in video.values.items():
            places = ((video.name, frame) for frame in video.frames)
            kept = {place: value for place, value in zip(places, column, strict=True) if value is not None}
            found.setdefault(name, {}).update(kept)
    return found


def _at(values: Mapping[Place, float], places: Collection[Place]) -> Iterator[float]:
    return (value for place, value in values.items() if place in places)
