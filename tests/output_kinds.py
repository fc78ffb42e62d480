"""Every kind of output, written small, for the tests of writing and of marking."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from synhead.data.outputs import Marking, OutputSpec, open_output
from synhead.data.still_writer import frame_name

VIDEOS = ["a.mp4", "a.m4v", "a.mov", "a.mkv", "a.webm"]
STILLS = ["a.png", "a.jpg", "a.jpeg", "a.webp"]
FOLDER = "frames"
KINDS = [*VIDEOS, "a.gif", *STILLS, FOLDER]
RATE = Fraction(25)
SIZE = (64, 48)


def pictures(count: int) -> list[np.ndarray]:
    """Smooth and moving."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return [np.stack([4 * x % 256, 5 * y % 256, (x + y + 8 * i) % 256], -1).astype(np.uint8) for i in range(count)]


def frame_count(name: str) -> int:
    return 1 if name in STILLS else 6


def spec(marking: Marking | None = None, **options) -> OutputSpec:
    return OutputSpec(**{"rate": RATE, "size": SIZE, "marking": marking, **options})


def write(path: Path, marking: Marking | None = None, **options) -> Path:
    with open_output(path, spec(marking, **options)) as output:
        for picture in pictures(frame_count(path.name)):
            output.write(picture)
    return path


def first_file(path: Path) -> Path:
    """The file itself, or the first picture of a folder."""
    return path / frame_name(0) if path.name == FOLDER else path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
