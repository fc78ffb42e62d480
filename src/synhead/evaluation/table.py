"""A report as a table to read: one row a system, one column a metric, and below it everything that was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from synhead.evaluation.common_frames import frames_of
from synhead.evaluation.metrics import Metric
from synhead.evaluation.report import Figure, Report, Row

_EMPTY = "-"
_NAMED = 12


def markdown_tables(report: Report) -> str:
    """Aligned Markdown: figures, those on the same frames for all where these differ, then the metrics without any,
    left empty, with the file or package each wants.
    """
    shown = measured(report)
    head = ["system", "origin", *(column_title(one) for one in shown)]
    body = [[row_title(row), row.origin, *(figure_text(row, one) for one in shown)] for row in report.rows]
    tables = [_table([head, *body])]
    if same := same_frames(report):
        tables.append(_table(same))
    if absent := missing(report):
        tables.append(_table([["not measured here", "value", "needs"], *([name, "", why] for name, why in absent)]))
    return "\n\n".join(tables)


def measured(report: Report) -> tuple[Metric, ...]:
    """Metrics that some row has a figure of."""
    return tuple(one for one in report.metrics if any(figure_text(row, one) != _EMPTY for row in report.rows))


def same_frames(report: Report) -> list[list[str]]:
    """Head and lines of a table of what systems score on the same frames; none where their figures are of such anyway.

    A line a metric: how many frames those are, and for each system the mean on them and, in brackets, the share of all
    frames that its own figure is of.
    """
    rows = [row for row in report.rows if row.common]
    total, lines = frames_of(rows), []
    for one in report.metrics:
        shared = max((row.common[one.id].frames or 0 for row in rows if one.id in row.common), default=0)
        own = [figure.frames or 0 if (figure := row.figures.get(one.id)) else 0 for row in rows]
        if any(one.id in row.common and count not in (0, shared) for row, count in zip(rows, own, strict=True)):
            cells = [f"{_text(row.common, one)} ({count / total:.1%})" for row, count in zip(rows, own, strict=True)]
            lines.append([column_title(one), f"{shared} of {total}", *cells])
    return [["on the same frames (share measured)", "frames", *(row.system for row in rows)], *lines] if lines else []


def missing(report: Report) -> tuple[tuple[str, str], ...]:
    """Metrics that this run could not measure, and what they need; published rows may still have figures of them."""
    return tuple((column_title(one), report.needs[one.id]) for one in report.metrics if one.id in report.needs)


def remarks(report: Report) -> tuple[str, ...]:
    """What is unreadable, skipped or measured in part, one line each, the frames by name."""
    lines = [*report.notes, *(f"unreadable {one.name}: {one.reason}" for one in report.inputs)]
    most = max((_frames(row) for row in report.rows), default=0)
    for row in report.rows:
        if 0 < _frames(row) < most:
            lines.append(
                f"{row.system}: measured on {_frames(row)} of {most} frames: its figures do not compare with those of "
                "rows with all of them"
            )
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
    return _text(row.figures, one)


def row_title(row: Row) -> str:
    """The system; for a published figure, of which table."""
    return row.system if row.origin == "run by you" else f"{row.system} ({row.detail})"


def _text(figures: Mapping[str, Figure], one: Metric) -> str:
    figure = figures.get(one.id)
    return _EMPTY if figure is None or figure.value is None else f"{figure.value:.{one.digits}f}"


def _frames(row: Row) -> int:
    return sum(len(video.frames) for video in row.videos)


def _table(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    written = [_line(line, widths) for line in lines]
    written.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(written)


def _line(cells: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)) + " |"


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
