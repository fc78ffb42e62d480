"""Pictures side by side: one row a trial, the source, then driving frames with what was made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from synhead.data.files import replacing
from synhead.evaluation.trials import Trial
from synhead.types import NDArray

Frames = UInt8[NDArray[np.uint8], "_ _ _ 3"]

_LABEL_PX, _GAP_PX = 14, 2


def contact_sheet(
    trials: Sequence[Trial], methods: Mapping[str, Mapping[str, Frames]], *, tile: int = 128, examples: int = 3
) -> Image.Image:
    """Rows: trials. Columns: source | (driving | one picture a method) for ``examples`` evenly spaced frames.

    Raises ValueError without trials.
    """
    if not trials:
        raise ValueError("no clip to show; give clips of at least two frames")
    names = list(methods)
    titles = ["source", *(["driving", *names] * examples)]
    width = len(titles) * (tile + _GAP_PX)
    sheet = Image.new("RGB", (width, _LABEL_PX + len(trials) * (tile + _LABEL_PX)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((column * (tile + _GAP_PX) + 2, 1), title, fill="black")
    for row, trial in enumerate(trials):
        top = _LABEL_PX + row * (tile + _LABEL_PX)
        for column, picture in enumerate(_row(trial, [methods[name][trial.name] for name in names], examples)):
            small = Image.fromarray(picture).resize((tile, tile), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * (tile + _GAP_PX), top))
        draw.text((2, top + tile), trial.name, fill="black")
    return sheet


def shown_positions(frames: int, examples: int = 3) -> tuple[int, ...]:
    """Which of ``frames`` driving frames a sheet shows; all of them, in order, if they are the ones of a longer one."""
    return tuple(int(position) for position in np.linspace(0, frames - 1, examples + 1)[1:])


def write_contact_sheet(sheet: Image.Image, path: Path) -> None:
    """Save under any of Pillow's formats, whole or not at all."""
    with replacing(path) as temporary:
        sheet.save(temporary)


def _row(trial: Trial, results: Sequence[Frames], examples: int) -> list[UInt8[NDArray[np.uint8], "_ _ 3"]]:
    pictures = [trial.source]
    for position in shown_positions(len(trial.driving), examples):
        pictures += [trial.driving[position], *(frames[position] for frames in results)]
    return pictures
