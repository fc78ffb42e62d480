"""``make demo``: animates a photograph with a rendered driver, opens the result again, and says where it is."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av

from footage import SIZE, driver_frames, portrait
from synhead.app.cli import main
from synhead.data.image import write_image
from synhead.data.video import VideoWriter

OUTPUTS = Path("outputs")
RATE = 25
SECONDS = 3


def make_inputs(folder: Path) -> tuple[Path, Path]:
    """Portrait and driver as files, as a user would have them."""
    folder.mkdir(parents=True, exist_ok=True)
    photo, driver = folder / "portrait.png", folder / "driver.mp4"
    write_image(photo, portrait())
    with VideoWriter(driver, rate=Fraction(RATE), size=(SIZE, SIZE)) as writer:
        for frame in driver_frames(RATE * SECONDS, RATE):
            writer.write(frame)
    return photo, driver


def count_frames(video: Path) -> int:
    """Frames that a decoder finds."""
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def demo(options: list[str]) -> None:
    """Run ``synhead animate`` on the example and check the video; further options go to the command."""
    photo, driver = make_inputs(OUTPUTS)
    result = OUTPUTS / "demo.mp4"
    print(f"portrait {photo} (public domain), driver {driver} (rendered)")
    try:
        main(["animate", str(photo), str(driver), "-o", str(result), "--side-by-side", *options])
    except SystemExit as stop:
        if stop.code:
            raise
    frames = count_frames(result)
    if frames != RATE * SECONDS:
        sys.exit(f"error: {result} has {frames} frames instead of {RATE * SECONDS}")
    print(f"{result.resolve()}: opens as a video of {frames} frames; portrait, driver and result side by side")


if __name__ == "__main__":
    demo(sys.argv[1:])
