"""Figures 5 and 9: what several systems make of the same sources and driving frames, one row an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from synhead.evaluation.figures.sheet import Row, Sheet, draw_table, tile_for
from synhead.evaluation.trials import Trial
from synhead.types import NDArray

Frames = UInt8[NDArray[np.uint8], "_ _ _ 3"]
Kind = Literal["portrait", "reconstruction", "reenactment"]

_WORDS: Mapping[Kind, tuple[str, str]] = {
    "portrait": (
        "The portrait and its driver (figures 5, 9)",
        "The driving frames shown are those that differ most from the first one. Keypoints are the driver's own "
        "(absolute): the result takes his pose and place, and something of the shape of his face.",
    ),
    "reconstruction": (
        "Same-identity reconstruction (figures 5a, 9)",
        "The first frame of a clip is the source, a later frame of the same clip drives it: every column should look "
        "like the driving frame. The frame shown is the one that differs most from the clip's first driving frame.",
    ),
    "reenactment": (
        "Cross-identity reenactment (figures 5b, 9)",
        "Source and driving frame show different people: columns should show the source's person move as the driver "
        "moves away from the first frame of his clip (relative motion, as `synhead evaluate` has it).",
    ),
}


def qualitative_sheet(kind: Kind, trials: Sequence[Trial], systems: Mapping[str, Mapping[str, Frames]]) -> Sheet:
    """One row a driving frame. ``systems[system][trial]``: its frames for all driving frames of the trial.

    Raises ValueError without trials.
    """
    if not trials:
        raise ValueError("no example to show; give clips of at least two frames")
    rows = []
    for trial in trials:
        for position, driving in enumerate(trial.driving):
            made = [frames[trial.name][position] for frames in systems.values()]
            rows.append(Row(_label(trial, position), [trial.source, driving, *made]))
    title, caption = _WORDS[kind]
    tile = tile_for(len(trials[0].source))  # pictures in their own size: a smaller one hides blur
    return Sheet(f"fig05-{kind}", title, caption, draw_table(["source", "driving", *systems], rows, tile=tile))


def telling(trial: Trial, count: int = 1) -> Trial:
    """The trial with only the ``count`` driving frames that are farthest from its first driving frame, in order."""
    first = trial.driving[0].astype(np.float64)
    distance = [float(np.abs(frame - first).mean()) for frame in trial.driving]
    chosen = sorted(sorted(range(len(distance)), key=lambda i: -distance[i])[:count])
    return replace(trial, driving=trial.driving[chosen], indices=tuple(trial.indices[i] for i in chosen))


def _label(trial: Trial, position: int) -> str:
    """The name over several lines, so that the column of labels stays narrow."""
    name = trial.name.replace(">", " >\n")
    lines = [part[i : i + 18] for part in name.split("\n") for i in range(0, len(part), 18)]
    return "\n".join([*lines, f"frame {trial.indices[position]}"])
