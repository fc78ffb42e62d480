"""How often each scale chooses each code, as one histogram a codebook and scale."""

from __future__ import annotations

import numpy as np

from synhead.evaluation.codebook_health import CodebookHealth, HealthReport
from synhead.evaluation.figures.canvas import INK, PALETTE, SOFT, Box, Drawing, Line, Text
from synhead.evaluation.figures.sheet import Sheet

_LEFT, _TOP, _WIDTH, _PLOT, _ROW, _FOOT = 32, 16, 1024, 74, 128, 98
_UNSEEN = "#e4e4e7"


def code_use_sheet(report: HealthReport) -> Sheet:
    """Raises ValueError for a model without codebooks."""
    if not report.codebooks:
        raise ValueError("this model has no codebook: nothing to count")
    marks: list[Box | Line | Text] = []
    y = _TOP
    for book, colour in zip(report.codebooks, PALETTE, strict=False):
        title = f"{book.name} codebook: {book.codes} codes, {book.dead} chosen by no scale"
        marks.append(Text(_LEFT, y + 16, title, size=17))
        y += 26
        for row in range(len(book.scales)):
            marks += _histogram(book, row, y, colour)
            y += _ROW
        marks += _numbers(book.codes, y - _ROW + _FOOT)
        y += _TOP
    return Sheet(
        "code-usage",
        "Code usage by scale",
        f"Over {report.pairs} pairs of pictures. Across: the number of the code; up: its share of all choices of that "
        "scale, on a square-root axis from 0 to the largest share. Grey: codes that the scale may not see.",
        Drawing(_WIDTH + 2 * _LEFT, y, tuple(marks)).to_image(zoom=1),
    )


def _numbers(codes: int, base: int) -> list[Box | Line | Text]:
    """Numbers of codes under the last histogram of a codebook, whose floor is at ``base``."""
    marks: list[Box | Line | Text] = []
    for quarter in range(5):
        code, x = codes * quarter // 4, _LEFT + _WIDTH * quarter / 4
        marks += [Line(x, base, x, base + 5, SOFT), Text(x, base + 18, str(code), 12, "middle", SOFT)]
    return marks


def _histogram(book: CodebookHealth, row: int, top: int, colour: str) -> list[Box | Line | Text]:
    one, counts = book.scales[row], book.counts[row]
    share = counts / max(1.0, float(counts.sum()))
    height = np.sqrt(share / max(float(share.max()), 1e-12)) * _PLOT
    step = _WIDTH / book.codes
    base = top + _FOOT
    used, verdict = one.visible - one.use.dead, "    COLLAPSED" if one.collapsed else ""
    words = f"scale {row + 1}: {one.scale} px    used {used} of {one.visible} ({one.use.used:.0%})    "
    words += f"perplexity {one.use.perplexity:.1f}    largest share {share.max():.1%}{verdict}"
    colour_of_words = INK if one.collapsed else SOFT
    marks: list[Box | Line | Text] = [Text(_LEFT, top + 17, words, size=13, colour=colour_of_words)]
    marks.append(Box(_LEFT, base - _PLOT, one.first * step, _PLOT, _UNSEEN))
    last = one.first + one.visible
    marks.append(Box(_LEFT + last * step, base - _PLOT, (book.codes - last) * step, _PLOT, _UNSEEN))
    gap = 1 if step >= 4 else 0
    for code in np.flatnonzero(counts):
        tall = max(1.0, float(height[code]))
        marks.append(Box(_LEFT + float(code) * step, base - tall, max(1.0, step - gap), tall, colour))
    marks.append(Line(_LEFT, base + 0.5, _LEFT + _WIDTH, base + 0.5, SOFT))
    return marks
