"""The interface of gauges: a trial and what was made of it in, one value a frame and metric out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from synhead.evaluation.trials import Trial
from synhead.types import NDArray

Frames = UInt8[NDArray[np.uint8], "_ _ _ 3"]
Picture = UInt8[NDArray[np.uint8], "_ _ 3"]
Features = Float[NDArray[Any], "_ _"]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Skip:
    """A frame that some metrics could not be measured on. ``frame``: its place among the trial's driving frames."""

    frame: int
    metrics: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Readings:
    """``values[metric]``: one a frame, None where it was skipped, which ``skips`` explains.

    ``features[set]``: rows that a metric of whole sets, such as FID, gathers over all trials.
    """

    values: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    skips: tuple[Skip, ...] = ()
    features: Mapping[str, Features] = field(default_factory=dict)


@runtime_checkable
class Gauge(Protocol):
    """Measures some metrics. Frames of a trial and results have the same shape. To be closed at the end."""

    metrics: tuple[str, ...]
    """Ids of what it measures."""

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """Values of each generated frame against the trial."""

    def totals(self, features: Mapping[str, Features]) -> Mapping[str, float]:
        """Metrics of whole sets, from the features of all trials."""

    def close(self) -> None:
        """Free what it holds."""


class FrameGauge:
    """A gauge without metrics of whole sets and with nothing to free."""

    def totals(self, features: Mapping[str, Features]) -> Mapping[str, float]:
        """See Gauge."""
        del features
        return {}

    def close(self) -> None:
        """See Gauge."""


class Remembered(Generic[R]):
    """A function of frames that keeps its last result: several systems in turn are measured against the same frames."""

    def __init__(self, function: Callable[[Frames], R]) -> None:
        self._function = function
        self._last: tuple[Frames, R] | None = None

    def __call__(self, frames: Frames) -> R:
        """The function's result, the last one if these are the same frames."""
        if self._last is None or self._last[0] is not frames:
            self._last = (frames, self._function(frames))
        return self._last[1]


def paired(
    metrics: tuple[str, ...],
    found: Iterable[tuple[R | None, R | None]],
    compare: Callable[[R, R], tuple[float, ...]],
) -> Readings:
    """Readings of what was found in pairs (in the result, in what it is compared with), either of which may be None.

    A value that is not a number is a skip too.
    """
    rows: list[tuple[float | None, ...]] = []
    skips: list[Skip] = []
    for frame, (result, reference) in enumerate(found):
        if result is None or reference is None:
            skips.append(Skip(frame, metrics, _where(result, reference)))
            rows.append((None,) * len(metrics))
            continue
        values = compare(result, reference)
        unknown = tuple(name for name, value in zip(metrics, values, strict=True) if math.isnan(value))
        if unknown:
            skips.append(Skip(frame, unknown, "the detector gave no value"))
        rows.append(tuple(None if math.isnan(value) else value for value in values))
    columns = {name: tuple(row[column] for row in rows) for column, name in enumerate(metrics)}
    return Readings(values=columns, skips=tuple(skips))


def _where(result: object, reference: object) -> str:
    if result is None and reference is None:
        return "no face in the result nor in what it is compared with"
    return f"no face in {'the result' if result is None else 'what it is compared with'}"
