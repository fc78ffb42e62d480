"""Labelled tables of pictures, written with Pillow's own font: no file of the system is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from synhead.data.files import replacing
from synhead.types import NDArray

Picture = UInt8[NDArray[np.uint8], "_ _ 3"]

_GAP_PX, _MARGIN_PX, _TEXT_PX, _NOTE_PX, _LINE_PX = 6, 12, 15, 13, 19
_TILE_PX = 176
_INK, _SOFT, _PAPER = (24, 24, 27), (113, 113, 122), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A finished figure: file stem, heading, the words below it, and the picture."""

    name: str
    title: str
    caption: str
    image: Image.Image


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its label (may hold line breaks), its pictures (None: a gap), a note under each."""

    label: str
    pictures: Sequence[Picture | None]
    notes: Sequence[str] = ()


def font(size_px: int = _TEXT_PX) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size_px)


def tile_for(size: int) -> int:
    """Side of a tile that shows pictures of ``size`` pixels, and halves of it, with every pixel equally large."""
    return size * max(1, -(-_TILE_PX // size))


def draw_table(
    columns: Sequence[str], rows: Sequence[Row], *, tile: int = _TILE_PX, legends: Sequence[Image.Image] = ()
) -> Image.Image:
    """Rows of square tiles under column titles, then the legends side by side.

    Pictures smaller than a tile keep their pixels visible. Titles and notes wider than a tile are cut short.
    Raises ValueError if a row has more pictures than columns.
    """
    for row in rows:
        if len(row.pictures) > len(columns):
            raise ValueError(f"row {row.label!r} has {len(row.pictures)} pictures for {len(columns)} columns")
    left = _MARGIN_PX + max(_text_width(row.label) for row in rows) + _MARGIN_PX
    heights = [tile + _GAP_PX + (_LINE_PX if row.notes else 0) for row in rows]
    legend_height = max((legend.height for legend in legends), default=-_GAP_PX) + _GAP_PX
    legend_width = left + sum(legend.width + 4 * _GAP_PX for legend in legends)
    width = max(left + len(columns) * (tile + _GAP_PX), legend_width) + _MARGIN_PX - _GAP_PX
    top = _MARGIN_PX + _LINE_PX + 2
    canvas = Image.new("RGB", (width, top + sum(heights) + legend_height + _MARGIN_PX - _GAP_PX), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(columns):
        middle = left + column * (tile + _GAP_PX) + tile // 2
        draw.text((middle, _MARGIN_PX), _fitting(title, tile, _TEXT_PX), fill=_INK, font=font(), anchor="ma")
    for row, height in zip(rows, heights, strict=True):
        draw.multiline_text(
            (_MARGIN_PX, top + tile // 2), row.label, fill=_INK, font=font(), anchor="lm", spacing=_LINE_PX - _TEXT_PX
        )
        _draw_row(canvas, row, (left, top), tile)
        top += height
    x = left
    for legend in legends:
        canvas.paste(legend, (x, top))
        x += legend.width + 4 * _GAP_PX
    return canvas


def write_sheet(sheet: Sheet, folder: Path) -> Path:
    """``<name>.png`` in ``folder``, whole or not at all."""
    path = folder / f"{sheet.name}.png"
    with replacing(path) as temporary:
        sheet.image.save(temporary, optimize=True)
    return path


def _draw_row(canvas: Image.Image, row: Row, corner: tuple[int, int], tile: int) -> None:
    draw, (left, top) = ImageDraw.Draw(canvas), corner
    for column, picture in enumerate(row.pictures):
        if picture is None:
            continue
        x = left + column * (tile + _GAP_PX)
        sampling = Image.Resampling.NEAREST if len(picture) <= tile else Image.Resampling.LANCZOS
        canvas.paste(Image.fromarray(picture).resize((tile, tile), sampling), (x, top))
        if column < len(row.notes):
            note = _fitting(row.notes[column], tile, _NOTE_PX)
            draw.text((x + tile // 2, top + tile + 2), note, fill=_SOFT, font=font(_NOTE_PX), anchor="ma")


def _fitting(text: str, width: int, size_px: int) -> str:
    """The text, or as much of its beginning as fits with three dots."""
    measure = font(size_px).getlength
    if measure(text) <= width:
        return text
    kept = next((n for n in range(len(text), 0, -1) if measure(text[:n] + "...") <= width), 0)
    return text[:kept] + "..."


def _text_width(text: str) -> int:
    return max(int(np.ceil(font().getlength(line))) for line in text.split("\n"))
