"""Second pass over a video: cut the planned clips, and measure them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from synhead.data.video import Frame, VideoReader, VideoWriter
from synhead.faces.boxes import crop_square
from synhead.training.preparation.checks import perceptual_hash, sharpness
from synhead.training.preparation.options import PrepareOptions
from synhead.training.preparation.scan import ClipPlan, Scan
from synhead.types import NDArray

_THUMBNAIL_PX = 96


@dataclass(frozen=True, slots=True)
class CutClip:
    """A written clip. ``hashes``: perceptual, of its first, middle and last frame; ``strip``: those as a JPEG."""

    plan: ClipPlan
    path: Path
    frames: int
    rate: Fraction
    sharpness: float
    hashes: tuple[int, ...]
    strip: bytes


@dataclass
class _Job:
    """A clip while its frames pass by. Two clips of one scene may be open at once."""

    plan: ClipPlan
    path: Path
    writer: VideoWriter
    wanted: range
    sampled: frozenset[int]
    written: int = 0
    samples: list[UInt8[NDArray[np.uint8], "_ _ 3"]] = field(default_factory=list)


def cut_clips(path: Path, scan: Scan, targets: Sequence[Path], options: PrepareOptions) -> Iterator[CutClip]:
    """Write clip i of the plan to ``targets[i]`` (H.264), each yielded once complete. Raises MediaError."""
    waiting = sorted(zip(scan.plans, targets, strict=True), key=lambda pair: pair[0].first)
    step = max(1, math.ceil(float(scan.rate) / options.max_rate - 0.01))
    jobs: list[_Job] = []
    try:
        with VideoReader(path) as reader:
            for index, frame in enumerate(reader):
                while waiting and waiting[0][0].first <= index:
                    jobs.append(_begin(*waiting.pop(0), step, scan.rate, options))
                for job in jobs:
                    _take(job, index, frame, options.size)
                for job in [job for job in jobs if job.plan.last <= index]:
                    jobs.remove(job)
                    yield _end(job, scan.rate / step)
                if not waiting and not jobs:
                    break
        while jobs:  # the second pass decoded fewer frames than the first
            yield _end(jobs.pop(0), scan.rate / step)
    except BaseException as error:
        for job in jobs:
            job.writer.__exit__(type(error), error, error.__traceback__)
        raise


def _begin(plan: ClipPlan, path: Path, step: int, rate: Fraction, options: PrepareOptions) -> _Job:
    wanted = range(plan.first, plan.last + 1, step)
    sampled = frozenset(wanted[i] for i in (0, len(wanted) // 2, len(wanted) - 1))
    writer = VideoWriter(path, rate=rate / step, size=(options.size, options.size), crf=options.crf)
    return _Job(plan, path, writer.__enter__(), wanted, sampled)


def _take(job: _Job, index: int, frame: Frame, size: int) -> None:
    if index not in job.wanted:
        return
    picture = crop_square(frame.image, job.plan.crop, size)
    job.writer.write(picture)
    job.written += 1
    if index in job.sampled:
        job.samples.append(picture)


def _end(job: _Job, rate: Fraction) -> CutClip:
    job.writer.__exit__(None, None, None)
    tiles = [
        np.asarray(Image.fromarray(sample).resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS))
        for sample in job.samples
    ]
    strip = io.BytesIO()
    Image.fromarray(np.concatenate(tiles, axis=1)).save(strip, "JPEG", quality=80)
    sharp = float(np.median([sharpness(sample) for sample in job.samples]))
    hashes = tuple(perceptual_hash(sample) for sample in job.samples)
    return CutClip(job.plan, job.path, job.written, rate, sharp, hashes, strip.getvalue())
