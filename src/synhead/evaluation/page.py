"""A report as one HTML page that needs nothing else: the table, contact sheets, every video, all that was left out.

The sheets show the user's own material: a page is theirs to share or not.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from PIL import Image

from synhead.data.files import replacing
from synhead.evaluation.contact_sheet import contact_sheet, shown_positions
from synhead.evaluation.gauges.gauge import Frames
from synhead.evaluation.report import Report, Row
from synhead.evaluation.systems import System
from synhead.evaluation.table import column_title, figure_text, measured, missing, remarks, row_title, same_frames
from synhead.evaluation.trials import Trial

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #1c1c1c }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
tr.published { color: #666; font-style: italic }
img { max-width: 100%; margin: .5rem 0 }
code { font-size: .85em; overflow-wrap: anywhere }
"""


@dataclass(slots=True)
class Pictures:
    """Frames kept for contact sheets: of the first ``limit`` trials, those that a sheet shows."""

    limit: int = 8
    _trials: dict[str, Trial] = field(default_factory=dict)
    _methods: dict[str, dict[str, Frames]] = field(default_factory=dict)

    def keep(self, trial: Trial, system: System, frames: Frames) -> None:
        """Take what a sheet shows of a result, if there is room."""
        shown = list(shown_positions(len(trial.driving)))
        first = self._trials.get(trial.name)
        if first is None:
            if len(self._trials) >= self.limit:
                return
            indices = tuple(trial.indices[position] for position in shown)
            first = Trial(trial.name, trial.source, trial.driving[shown], indices)
            self._trials[trial.name] = first
        if first.indices == tuple(trial.indices[position] for position in shown):
            self._methods.setdefault(system.name, {})[trial.name] = frames[shown]

    def sheet(self) -> Image.Image | None:
        """One row a trial that all systems have a result of equal length for; None without any."""
        complete = [
            trial
            for name, trial in sorted(self._trials.items())
            if all(name in kept for kept in self._methods.values())
        ]
        return contact_sheet(complete, self._methods) if complete else None


def write_page(report: Report, path: Path, sheet: Image.Image | None = None) -> None:
    """The page as a file, written whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(html_page(report, sheet), encoding="utf-8")


def html_page(report: Report, sheet: Image.Image | None = None) -> str:
    """The whole page; ``sheet`` is embedded."""
    protocol = report.protocol
    title = f"Evaluation: {protocol.name}"
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
        f"<p>{escape(protocol.description)} {protocol.videos} videos. Made {escape(report.created)}.</p>",
        _figures(report),
        "<p>v: lower is better, ^: higher. Italic rows are figures printed in the paper, not measured here.</p>",
    ]
    if same := same_frames(report):
        parts.append("<h2>On the frames that all systems have a figure of</h2>" + _table(same[0], same[1:]))
    if absent := missing(report):
        rows = [[name, "", why] for name, why in absent]
        parts.append("<h2>Not measured here</h2>" + _table(["metric", "value", "needs"], rows))
    parts.append(_list("Left out, and why", remarks(report)))
    if sheet is not None:
        parts.append(f"<h2>Contact sheet</h2><img alt='contact sheet' src='{_data_uri(sheet)}'>")
    parts += [_videos(report, row) for row in report.rows if row.videos]
    parts.append(_list("Definitions", [f"{column_title(one)}: {one.definition}" for one in report.metrics]))
    parts.append(_list("Versions", [f"{name} {version}" for name, version in sorted(report.versions.items())]))
    parts.append(_list("Weights (SHA-256)", [f"{name} {digest}" for name, digest in sorted(report.weights.items())]))
    return "\n".join(parts) + "</html>\n"


def _figures(report: Report) -> str:
    shown = measured(report)
    rows = [[row_title(row), row.origin, *(figure_text(row, one) for one in shown)] for row in report.rows]
    italic = {index for index, row in enumerate(report.rows) if row.origin == "published figure"}
    return _table(["system", "origin", *map(column_title, shown)], rows, italic)


def _videos(report: Report, row: Row) -> str:
    shown = [one for one in report.metrics if any(video.means.get(one.id) is not None for video in row.videos)]
    rows = []
    for video in row.videos:
        means = (video.means.get(one.id) for one in shown)
        texts = ["-" if value is None else f"{value:.{one.digits}f}" for value, one in zip(means, shown, strict=True)]
        rows.append([video.name, str(len(video.frames)), *texts])
    table = _table(["video", "frames", *map(column_title, shown)], rows)
    return f"<details><summary>{escape(row.system)}: every video</summary>{table}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], italic: Collection[int] = ()) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{escape(text)}</th>" for text in head) + "</tr>"]
    for index, row in enumerate(rows):
        kind = " class='published'" if index in italic else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>")
    return "".join(lines) + "</table>"


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{escape(title)}</h2><ul>" + "".join(_items(lines)) + "</ul>"


def _items(lines: Sequence[str]) -> Iterator[str]:
    return (f"<li><code>{escape(line)}</code></li>" for line in lines)


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
