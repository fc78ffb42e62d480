"""Table 2 in small: figures of several variants and seeds as means with their spread, and which orderings hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from synhead.config import AblationName
from synhead.data.files import replacing

TITLES: Mapping[str, str] = {
    "baseline": "baseline",
    "smc": "+ SMC",
    "mmc": "+ MMC",
    "mmc_sac": "+ MMC + SAC",
    "full": "+ MMC + MAC (full)",
}
"""Rows of the paper's Table 2, in its order; other ablations follow under their own names."""


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the reconstruction report: its field, its heading, digits, and whether more is better."""

    field: str
    title: str
    digits: int
    more_is_better: bool


COLUMNS = (
    Column("psnr_db", "PSNR dB ↑", 2, more_is_better=True),
    Column("l1", "L1 ↓", 4, more_is_better=False),
    Column("ssim", "SSIM ↑", 4, more_is_better=True),
    Column("landmark_distance_px", "landmarks px ↓", 3, more_is_better=False),
    Column("mouth_opening_error", "mouth ↓", 4, more_is_better=False),
    Column("eye_opening_error", "eyes ↓", 4, more_is_better=False),
    Column("pose_error_deg", "pose ° ↓", 3, more_is_better=False),
)

PAPER: Mapping[str, Mapping[str, float]] = {
    "psnr_db": {"baseline": 24.93, "smc": 24.97, "mmc": 25.27, "mmc_sac": 25.16, "full": 25.30},
    "l1": {"baseline": 0.0375, "smc": 0.0371, "mmc": 0.0360, "mmc_sac": 0.0362, "full": 0.0355},
    "landmark_distance_px": {"baseline": 1.2384, "smc": 1.2183, "mmc": 1.2171, "mmc_sac": 1.2106, "full": 1.2039},
}
"""The paper's Table 2 (VoxCeleb1) where a figure of ours has a counterpart: PSNR, L1, and AKD for landmarks.

AKD takes other landmarks than ours: its order is compared, never its size.
"""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One trained run: its figures by field (NaN: none), iterations and pairs trained on, minutes in the loop.

    Among the figures are how many pictures were measured, ``frames``, and in how many of them a face was missing,
    ``faceless``, unless the run was measured before these were kept.
    """

    variant: AblationName
    seed: int
    figures: Mapping[str, float]
    iterations: int
    pairs: int
    minutes: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A variant over its seeds. ``spread``: half the range over seeds by field; NaN with one seed."""

    variant: str
    seeds: tuple[int, ...]
    mean: Mapping[str, float]
    spread: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ordering:
    """Whether two neighbouring rows are ordered as in the paper, by one figure."""

    field: str
    worse: str
    better: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that was measured, and what it comes to."""

    measurements: tuple[Measurement, ...]
    rows: tuple[Summary, ...]

    def cell(self, row: Summary, column: Column) -> str:
        """``mean ± spread`` in the column's digits, without spread for one seed, - where there is no figure."""
        mean, spread = row.mean.get(column.field, math.nan), row.spread.get(column.field, math.nan)
        if math.isnan(mean):
            return "-"
        return f"{mean:.{column.digits}f}" + ("" if math.isnan(spread) else f" ±{spread:.{column.digits}f}")

    def to_markdown(self) -> str:
        """The table, then a line an ordering."""
        lines = ["| variant | seeds | " + " | ".join(column.title for column in COLUMNS) + " |"]
        lines.append("|---|---|" + "---:|" * len(COLUMNS))
        for row in self.rows:
            cells = " | ".join(self.cell(row, column) for column in COLUMNS)
            lines.append(f"| {TITLES.get(row.variant, row.variant)} | {', '.join(map(str, row.seeds))} | {cells} |")
        lines += ["", "± is half the range over seeds; a variant of one seed has none.", ""]
        lines += [f"- {note}" for note in self.faceless()]
        lines += [f"- {sentence(ordering)}" for ordering in self.orderings()]
        return "\n".join(lines) + "\n"

    def faceless(self) -> tuple[str, ...]:
        """Rows whose face figures are of some pictures only, in words, and how to compare all rows on the same ones."""
        notes = []
        for row in self.rows:
            runs = [one.figures for one in self.measurements if one.variant == row.variant]
            without, pictures = (sum(figures.get(key, 0) for figures in runs) for key in ("faceless", "frames"))
            if without:
                rest = "face figures are of the others alone" if without < pictures else "there are no face figures"
                notes.append(
                    f"{TITLES.get(row.variant, row.variant)}: no face in {without:.0f} of {pictures:.0f} pictures (or "
                    f"driving frames): {rest}"
                )
        if notes:
            notes.append(
                'on the same pictures for all rows: `synhead evaluate CHECKPOINT --data CLIPS --frames 10 --own "" '
                "--rival ROW=RUN/frames`, with one `--rival` a run"
            )
        return tuple(notes)

    def to_json(self) -> str:
        """Measurements, summaries and orderings; a figure that does not exist is null."""
        tree = {
            "measurements": [asdict(measurement) for measurement in self.measurements],
            "rows": [asdict(row) for row in self.rows],
            "orderings": [asdict(ordering) for ordering in self.orderings()],
        }
        return json.dumps(_without_nan(tree), indent=2, allow_nan=False) + "\n"

    def write(self, folder: Path, name: str = "table2") -> tuple[Path, Path]:
        """``table2.json`` and ``table2.md``, each whole or not at all."""
        written = folder / f"{name}.json", folder / f"{name}.md"
        for path, text in zip(written, (self.to_json(), self.to_markdown()), strict=True):
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return written

    def orderings(self) -> tuple[Ordering, ...]:
        """Neighbouring rows of the paper's table, by each figure that the paper has too."""
        rows = [row for row in self.rows if row.variant in TITLES]
        return tuple(
            _ordering(column, first, second)
            for column in COLUMNS
            if column.field in PAPER
            for first, second in pairwise(rows)
        )


def summarise(measurements: Sequence[Measurement]) -> Table:
    """One row a variant, in the order of the paper's table."""
    order = [*TITLES, *sorted({m.variant for m in measurements} - set(TITLES))]
    rows = []
    for variant in order:
        runs = sorted((m for m in measurements if m.variant == variant), key=lambda m: m.seed)
        if not runs:
            continue
        values = {column.field: [run.figures.get(column.field, math.nan) for run in runs] for column in COLUMNS}
        rows.append(
            Summary(
                variant=variant,
                seeds=tuple(run.seed for run in runs),
                mean={field: float(np.mean(found)) for field, found in values.items()},
                spread={field: _half_range(found) for field, found in values.items()},
            )
        )
    return Table(tuple(measurements), tuple(rows))


def sentence(ordering: Ordering) -> str:
    """In words."""
    title = next(column.title for column in COLUMNS if column.field == ordering.field)
    worse, better = (TITLES[name] for name in (ordering.worse, ordering.better))
    return f"{title}: the paper finds {better} better than {worse}: {ordering.verdict}"


def _ordering(column: Column, first: Summary, second: Summary) -> Ordering:
    paper = PAPER[column.field]
    sign = 1 if column.more_is_better else -1
    second_wins = sign * (paper[second.variant] - paper[first.variant]) > 0
    worse, better = (first, second) if second_wins else (second, first)
    gain = sign * (better.mean[column.field] - worse.mean[column.field])
    spread = [row.spread[column.field] for row in (worse, better)]
    return Ordering(column.field, worse.variant, better.variant, _verdict(gain, spread))


def _verdict(gain: float, spread: Sequence[float]) -> str:
    if math.isnan(gain):
        return "not measured"
    known = [value for value in spread if not math.isnan(value)]
    if known and abs(gain) <= sum(known):
        return "undecided, the difference is within the spread of the seeds"
    caution = "" if len(known) == 2 else ", though a row of one seed has no known spread"
    return ("holds" if gain > 0 else "does not hold") + caution


def _half_range(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / 2 if len(values) > 1 else math.nan


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
