"""Motion templates of our own making: the example driver, rendered and recorded with the weights that are named.

Keypoints mean nothing to another detector, so templates belong to one checkpoint and are made again for each:
``python scripts/make_templates.py CHECKPOINT [FOLDER]``.
"""

from __future__ import annotations

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from footage import SIZE, driver_frames
from synhead.app.cli import main
from synhead.data.video import VideoWriter

RATE = 25
SECONDS = {"short": 3, "long": 10}
DEFAULT_FOLDER = Path("examples") / "templates"


def make_templates(checkpoint: str, folder: Path) -> None:
    """One template for each length in SECONDS, overwriting earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for name, seconds in SECONDS.items():
            clip = Path(work) / f"{name}.mp4"
            with VideoWriter(clip, rate=Fraction(RATE), size=(SIZE, SIZE), crf=10) as writer:
                for frame in driver_frames(RATE * seconds, RATE):
                    writer.write(frame)
            try:
                main(["record", str(clip), "-o", str(folder / f"{name}.safetensors"), "--checkpoint", checkpoint])
            except SystemExit as stop:
                if stop.code:
                    raise


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(f"usage: {sys.argv[0]} CHECKPOINT [FOLDER]")
    make_templates(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) == 3 else DEFAULT_FOLDER)
