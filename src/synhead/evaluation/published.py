"""The paper's own tables, as data: figures printed there, never measured here, and always labelled so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from synhead.evaluation.report import Figure, Row

Dataset = Literal["voxceleb1", "celebvhq"]
_FILE = Path(__file__).with_name("published_tables.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """``rows[method][metric]``, metrics by the ids of :mod:`~synhead.evaluation.metrics`."""

    title: str
    dataset: Dataset
    rows: Mapping[str, Mapping[str, float]]


@cache
def published_tables() -> Mapping[str, PublishedTable]:
    """``table1-voxceleb1``, ``table1-celebvhq`` and ``table2`` of arXiv 2412.00719 (its review version)."""
    stored = json.loads(_FILE.read_text(encoding="utf-8"))
    columns = stored["columns"]
    return {
        name: PublishedTable(
            title=table["title"],
            dataset=table["dataset"],
            rows={method: dict(zip(columns, values, strict=True)) for method, values in table["rows"].items()},
        )
        for name, table in stored["tables"].items()
    }


def published_rows(name: str) -> tuple[Row, ...]:
    """Rows of a published table for a report. KeyError if there is no such table."""
    table = published_tables()[name]
    return tuple(
        Row(
            system=method,
            origin="published figure",
            detail=table.title,
            figures={metric: Figure(value, None) for metric, value in values.items()},
        )
        for method, values in table.rows.items()
    )
