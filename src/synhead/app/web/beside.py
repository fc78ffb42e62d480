"""Portrait, driver and result in a row, made from the finished result: seen pictures as they are, not as squares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from synhead.data.image import RgbImage, read_image
from synhead.data.outputs import OutputSpec, open_output
from synhead.data.video import Frame, VideoReader
from synhead.faces.crops import Crop, extract
from synhead.inference.job import AnimationJob
from synhead.inference.report import AnimationReport
from synhead.inference.template_file import is_template
from synhead.provenance.marker import default_marker
from synhead.provenance.statement import Statement

MAX_HEIGHT_PX = 512


def write_beside(
    job: AnimationJob, report: AnimationReport, target: Path, *, statement: Statement, check: Callable[[], None]
) -> None:
    """Write the row; ``check`` is called once a frame and may raise to stop. Sound is the result's.

    The portrait is shown as much as in the result: all of it, or its squares. A template shows no driver. Raises
    MediaError.
    """
    with ExitStack() as stack:
        result = stack.enter_context(VideoReader(job.output))
        height = min(MAX_HEIGHT_PX, result.info.height)
        portrait = _fitted(_shown(read_image(job.source), report), height)
        driver = _Driver(job.driving, height, stack)
        frames = iter(result)
        first = next(frames)

        def row_of(frame: Frame) -> RgbImage:
            shown = driver.at(frame.time - first.time)
            return np.concatenate([portrait, *shown, _fitted(frame.image, height)], axis=1)

        row = row_of(first)
        spec = OutputSpec(
            rate=result.info.rate,
            size=(row.shape[1], row.shape[0]),
            marking=default_marker(statement, certificate=job.options.certificate, key=job.options.key),
            inputs=(job.source, job.driving, job.output),
            audio_from=job.output if result.info.has_audio else None,
            time_base=result.info.time_base,
        )
        output = stack.enter_context(open_output(target, spec))
        output.write(row, time=first.time, duration=first.duration)
        for frame in frames:
            check()
            output.write(row_of(frame), time=frame.time, duration=frame.duration)


def _shown(portrait: RgbImage, report: AnimationReport) -> RgbImage:
    if report.pasted:
        return portrait
    crops = [Crop(fact.x, fact.y, fact.side, fact.tilt) for fact in report.source_crops]
    return np.concatenate([extract(portrait, crop, report.size[1]) for crop in crops], axis=1)


class _Driver:
    """The driver's picture nearest in time to each of the result, which may leave frames out, as GIF does; the last one
    again if there are no more; none of a template."""

    def __init__(self, driving: Path, height: int, stack: ExitStack) -> None:
        self._height = height
        self._frames = iter(()) if is_template(driving) else iter(stack.enter_context(VideoReader(driving)))
        self._now, self._next = next(self._frames, None), next(self._frames, None)
        self._origin = Fraction(0) if self._now is None else self._now.time
        self._shown: list[RgbImage] = []

    def at(self, moment: Fraction) -> list[RgbImage]:
        """``moment``: seconds since the first frame; from call to call it grows."""
        before, moment = self._now, moment + self._origin
        while self._now and self._next and abs(self._next.time - moment) < abs(self._now.time - moment):
            self._now, self._next = self._next, next(self._frames, None)
        if self._now is not None and (not self._shown or self._now is not before):
            self._shown = [_fitted(self._now.image, self._height)]
        return self._shown


def _fitted(image: RgbImage, height: int) -> RgbImage:
    if image.shape[0] == height:
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
