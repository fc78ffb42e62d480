"""The row of portrait, driver and result shows the driver at the moment that the result is of."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from synhead.app.web.beside import write_beside
from synhead.data.image import write_image
from synhead.data.outputs import OutputSpec, open_output
from synhead.data.video import read_frames
from synhead.inference.job import AnimationJob, OutputOptions
from synhead.inference.report import AnimationReport, StageSeconds
from synhead.provenance.statement import Statement
from tests.data.video_factory import level, picture, write_clip

SIDE = 64
REPORT = AnimationReport(
    frames=1,
    skipped=0,
    rate=Fraction(60),
    size=(SIDE, SIDE),
    pasted=True,
    audio="none",
    marked="",
    source_crops=(),
    driving_crop=None,
    reference=0,
    reference_reason="",
    faceless=(),
    source_faceless=(),
    engine="",
    precision="",
    warnings=(),
    seconds=StageSeconds(decode=0.0, faces=0.0, model=0.0, paste=0.0, encode=0.0),
)


@pytest.mark.parametrize("kind", ["gif", "mp4"])
@pytest.mark.parametrize("fps", [25, 60, 100])
def test_the_driver_is_shown_at_the_time_of_the_result(tmp_path: Path, kind: str, fps: int) -> None:
    """A GIF shows 50 frames a second at most, at hundredths of a second: of 60 it leaves every third one out."""
    rate, count = Fraction(fps), 24
    driving = write_clip(tmp_path / "driving.mp4", count, rate=rate, size=(SIDE, SIDE))
    portrait, result, row = tmp_path / "a.png", tmp_path / f"result.{kind}", tmp_path / f"row.{kind}"
    write_image(portrait, picture(0, SIDE, SIDE))
    with open_output(result, OutputSpec(rate=rate, size=(SIDE, SIDE), marking=None)) as output:
        for index in range(count):
            output.write(picture(index, SIDE, SIDE), time=7 + index / rate)
    job = AnimationJob(source=portrait, driving=driving, output=result, options=OutputOptions(audio="none"))
    write_beside(job, replace(REPORT, rate=rate), row, statement=Statement(), check=lambda: None)
    seen = [[level(part) for part in np.split(frame.image, 3, axis=1)] for frame in read_frames(row)]
    assert [driver for _, driver, _ in seen] == [result for _, _, result in seen]
    assert seen[0] == [0, 0, 0]
    assert seen[-1][2] > count - 3 - (fps == 100)
