"""Charts as a list of marks, drawn as SVG or as a picture: one drawing, two files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from synhead.data.files import replacing
from synhead.evaluation.figures.sheet import font

PALETTE = ("#7b9ff0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5", "#9c6b4e")
INK, SOFT = "#18181b", "#71717a"

Length = int | float  # while tests run, an int is no float
Anchor = Literal["start", "middle", "end"]
_PILLOW_ANCHOR = {"start": "ls", "middle": "ms", "end": "rs"}


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle from its upper left corner."""

    x: Length
    y: Length
    width: Length
    height: Length
    fill: str


@dataclass(frozen=True, slots=True)
class Line:
    """A straight stroke."""

    x1: Length
    y1: Length
    x2: Length
    y2: Length
    colour: str = INK
    width: Length = 1.0


@dataclass(frozen=True, slots=True)
class Text:
    """Words whose baseline begins, has its middle or ends at (x, y)."""

    x: Length
    y: Length
    text: str
    size: int = 14
    anchor: Anchor = "start"
    colour: str = INK


@dataclass(frozen=True, slots=True)
class Drawing:
    """Marks on white paper, later ones on top."""

    width: int
    height: int
    marks: Sequence[Box | Line | Text]

    def to_svg(self) -> str:
        """A whole SVG document."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
        head += f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif">'
        paper = f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>'
        return "\n".join([head, paper, *(_svg(mark) for mark in self.marks), "</svg>\n"])

    def to_image(self, *, zoom: int = 2) -> Image.Image:
        """The same as a picture, ``zoom`` times as many pixels."""
        image = Image.new("RGB", (self.width * zoom, self.height * zoom), "white")
        draw = ImageDraw.Draw(image)
        for mark in self.marks:
            _paint(draw, mark, zoom)
        return image


def write_drawing(drawing: Drawing, path: Path) -> None:
    """As ``.svg`` or as a picture, by the suffix; whole or not at all."""
    with replacing(path) as temporary:
        if path.suffix.lower() == ".svg":
            temporary.write_text(drawing.to_svg(), encoding="utf-8")
        else:
            drawing.to_image().save(temporary)


def _svg(mark: Box | Line | Text) -> str:
    if isinstance(mark, Box):
        place = f'x="{mark.x:g}" y="{mark.y:g}" width="{mark.width:g}" height="{mark.height:g}"'
        return f'<rect {place} fill="{mark.fill}"/>'
    if isinstance(mark, Line):
        ends = f'x1="{mark.x1:g}" y1="{mark.y1:g}" x2="{mark.x2:g}" y2="{mark.y2:g}"'
        return f'<line {ends} stroke="{mark.colour}" stroke-width="{mark.width:g}"/>'
    style = f'font-size="{mark.size}" text-anchor="{mark.anchor}" fill="{mark.colour}"'
    return f'<text x="{mark.x:g}" y="{mark.y:g}" {style}>{escape(mark.text)}</text>'


def _paint(draw: ImageDraw.ImageDraw, mark: Box | Line | Text, zoom: int) -> None:
    if isinstance(mark, Box):
        x, y, right, bottom = (v * zoom for v in (mark.x, mark.y, mark.x + mark.width, mark.y + mark.height))
        if right - x > 0 and bottom - y > 0:
            draw.rectangle((x, y, max(x, right - 1), max(y, bottom - 1)), fill=mark.fill)
    elif isinstance(mark, Line):
        ends = (mark.x1 * zoom, mark.y1 * zoom, mark.x2 * zoom, mark.y2 * zoom)
        draw.line(ends, fill=mark.colour, width=max(1, round(mark.width * zoom)))
    else:
        place, anchor = (mark.x * zoom, mark.y * zoom), _PILLOW_ANCHOR[mark.anchor]
        draw.text(place, mark.text, fill=mark.colour, font=font(mark.size * zoom), anchor=anchor)
