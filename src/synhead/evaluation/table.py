"""A report as a table to read: one row a system, one column a metric, and below it everything that was left out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from synhead.evaluation.metrics import Metric
from synhead.evaluation.report import Report, Row

__all__ = ["column_title", "figure_text", "markdown_table", "remarks"]

_EMPTY = "-"
_NAMED = 12


def markdown_table(report: Report) -> str:
    """Aligned Markdown. A metric that nothing was measured for has an empty column; ``remarks`` says why."""
    head = ["system", "origin", *(column_title(one) for one in report.metrics)]
    lines = [head, *([_title(row), row.origin, *_figures(row, report)] for row in report.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    written = [_line(line, widths) for line in lines]
    written.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(written)


def remarks(report: Report) -> tuple[str, ...]:
    """What is missing, unreadable, skipped or measured in part, one line each, the frames by name."""
    lines = list(report.notes)
    for needs, ids in groupby(report.metrics, key=lambda one: report.needs.get(one.id)):
        if needs:
            lines.append(f"{', '.join(f'{one.name} ({one.variant})' for one in ids)}: {needs}")
    lines += [f"unreadable {one.name}: {one.reason}" for one in report.inputs]
    for row in report.rows:
        lines += [f"{row.system}: {one.name}: {one.reason}" for one in row.problems]
        lines += _skipped(row)
    return tuple(lines)


def column_title(one: Metric) -> str:
    """Name, variant where there are two, unit, and which way is better."""
    variant = f" {one.variant}" if one.id.endswith((".published", ".standard")) else ""
    unit = f" {one.unit}" if one.unit else ""
    return f"{one.name}{variant}{unit} {'v' if one.better == 'lower' else '^'}"


def figure_text(row: Row, one: Metric) -> str:
    """A figure with the metric's digits, or a dash."""
    figure = row.figures.get(one.id)
    return _EMPTY if figure is None or figure.value is None else f"{figure.value:.{one.digits}f}"


def _title(row: Row) -> str:
    return row.system if row.origin == "run by you" else f"{row.system} ({row.detail})"


def _figures(row: Row, report: Report) -> Iterator[str]:
    return (figure_text(row, one) for one in report.metrics)


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [
        text.ljust(width) if column < 2 else text.rjust(width)
        for column, (text, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join(padded) + " |"


def _skipped(row: Row) -> Iterator[str]:
    """Frames by the reason and the metrics they were skipped for."""
    kinds = sorted({(one.reason, one.metrics) for one in row.skipped})
    for reason, metrics in kinds:
        names = [f"{one.video}/{one.frame}" for one in row.skipped if (one.reason, one.metrics) == (reason, metrics)]
        more = f" and {len(names) - _NAMED} more (all in the JSON)" if len(names) > _NAMED else ""
        yield (
            f"{row.system}: {len(names)} frames not measured by {', '.join(metrics)}, {reason}: "
            f"{', '.join(names[:_NAMED])}{more}"
        )
