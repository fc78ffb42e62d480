"""All figures on one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from synhead.data.files import replacing
from synhead.evaluation.figures.sheet import Sheet

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1760px; margin: 0 auto; padding: 1rem; color: #18181b; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
section { margin: 2.5rem 0; } h2 { margin-bottom: .25rem; }
img { max-width: 100%; height: auto; border: 1px solid #e4e4e7; }
p { max-width: 75ch; }
"""


def html_page(heading: str, remarks: Sequence[str], sheets: Sequence[Sheet]) -> str:
    """``remarks``: paragraphs on what was drawn from what; the pictures are inside the page."""
    links = "".join(f'<a href="#{escape(sheet.name)}">{escape(sheet.title)}</a>' for sheet in sheets)
    words = "".join(f"<p>{escape(remark)}</p>" for remark in remarks)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(heading)}</title><style>{_STYLE}</style></head><body><h1>{escape(heading)}</h1>"
        f"{words}<nav>{links}</nav>{''.join(_section(sheet) for sheet in sheets)}</body></html>\n"
    )


def write_page(path: Path, heading: str, remarks: Sequence[str], sheets: Sequence[Sheet]) -> None:
    """The page as a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(html_page(heading, remarks, sheets), encoding="utf-8")


def _section(sheet: Sheet) -> str:
    buffer = io.BytesIO()
    sheet.image.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    title = escape(sheet.title)
    return (
        f'<section id="{escape(sheet.name)}"><h2>{title}</h2><p>{escape(sheet.caption)}</p>'
        f'<img alt="{title}" src="data:image/png;base64,{data}"></section>'
    )
