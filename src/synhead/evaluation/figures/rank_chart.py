"""Figure 6: mean ranks of systems by question, as grouped bars with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from synhead.evaluation.figures.canvas import INK, PALETTE, SOFT, Box, Drawing, Line, Text
from synhead.evaluation.figures.sheet import font
from synhead.evaluation.study_statistics import Standing

_LEFT, _TOP, _PLOT, _BAR, _GAP = 48, 64, 240, 46, 44
_GRID = "#e4e4e7"


def rank_chart(questions: Mapping[str, Sequence[Standing]], note: str) -> Drawing:
    """One group of bars a question, one colour a system; lower bars are better ranks."""
    systems = [standing.system for standing in next(iter(questions.values()))]
    highest = math.ceil(max(s.mean_rank.high for found in questions.values() for s in found))
    unit = _PLOT / highest
    group = _BAR * len(systems) + _GAP
    legend, legend_width = _legend(systems)
    width = max(_LEFT + group * len(questions) + 16, legend_width, _LEFT + int(font(13).getlength(note)) + 16)
    base = _TOP + _PLOT
    marks: list[Box | Line | Text] = list(legend)
    for rank in range(highest + 1):
        y = base - rank * unit
        marks += [Line(_LEFT, y, width - 16, y, _GRID), Text(_LEFT - 8, y + 5, str(rank), 13, "end", SOFT)]
    for number, (question, found) in enumerate(questions.items()):
        left = _LEFT + _GAP / 2 + number * group
        for i, standing in enumerate(found):
            marks += _bar(standing, left + i * _BAR, base, unit, PALETTE[i % len(PALETTE)])
        marks.append(Text(left + _BAR * len(systems) / 2, base + 22, question, 15, "middle"))
    marks.append(Text(_LEFT, base + 52, note, 13, "start", SOFT))
    return Drawing(width, base + 68, tuple(marks))


def _bar(standing: Standing, x: float, base: int, unit: float, colour: str) -> list[Box | Line | Text]:
    rank, middle = standing.mean_rank, x + _BAR / 2
    top, high, low = (base - value * unit for value in (rank.value, rank.high, rank.low))
    return [
        Box(x + 3, top, _BAR - 6, base - top, colour),
        Line(middle, low, middle, high, INK, 1.5),
        Line(middle - 5, low, middle + 5, low, INK, 1.5),
        Line(middle - 5, high, middle + 5, high, INK, 1.5),
        Text(middle, base - 8, f"{rank.value:.2f}", 13, "middle"),
    ]


def _legend(systems: Sequence[str]) -> tuple[list[Box | Text], int]:
    marks: list[Box | Text] = []
    x = _LEFT
    for i, system in enumerate(systems):
        marks += [Box(x, 20, 14, 14, PALETTE[i % len(PALETTE)]), Text(x + 20, 32, system, 14)]
        x += 20 + int(font(14).getlength(system)) + 28
    return marks, x
