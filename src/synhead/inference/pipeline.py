"""Source and driver in, animated video with sound out: faces, crops, model, paste back, encode, streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from synhead.data.files import check_input, check_output
from synhead.data.prefetch import prefetch
from synhead.data.video import VIDEO_SUFFIXES, VideoWriter
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.composition import Composition, Layout, Step
from synhead.inference.drivers import TemplateDriver, VideoDriver, timed
from synhead.inference.footage import Footage
from synhead.inference.job import AnimationJob
from synhead.inference.report import AnimationReport, CropFact, StageSeconds, spans
from synhead.inference.scene import Scene, open_scene
from synhead.inference.steps import footage_steps, photo_steps
from synhead.types import Keypoints

__all__ = ["AnimationJob", "AnimationReport", "Progress", "animate_video"]

Progress = Callable[[int, int | None], None]

WHOLE_FRAMES_AHEAD = 2
"""Full-size pictures read ahead: they may be large."""


def animate_video(animator: Animator, job: AnimationJob, progress: Progress | None = None) -> AnimationReport:
    """Animate the source of ``job`` with the motion of its driver.

    For a photograph the output has the driver's timestamps and frame rate, for a source video its own. Memory does not
    grow with the length. An error or Ctrl-C leaves nothing behind and an earlier output untouched. ``progress`` is
    called with the number of frames written and their expected total (None if unknown). Raises MediaError before any
    work for bad inputs and outputs, FaceError where no face is found in the source.
    """
    for path in (job.source, job.driving):
        check_input(path)
    check_output(job.output, inputs=(job.source, job.driving), suffixes=VIDEO_SUFFIXES)
    clock = Clock()
    with ExitStack() as stack:
        scene = open_scene(animator, job, clock, stack)
        composition = Composition(_layout(job, scene))
        origin = _reference(animator, job, scene)
        size = composition.size(_source_size(scene), _faces(scene), animator.image_size, driver=scene.driver.shows)
        writer = stack.enter_context(_writer(job, scene, size))
        frames = 0
        for step in _steps(animator, scene, origin, clock, stack)
            ...
