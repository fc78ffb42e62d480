"""Source and driver in, animated video with sound out: faces, crops, model, paste back, encode, streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from synhead.data.errors import MediaError
from synhead.data.files import check_output
from synhead.data.image import RgbImage
from synhead.data.prefetch import prefetch
from synhead.data.video import VIDEO_SUFFIXES, VideoReader, VideoWriter
from synhead.faces.analyzer import FaceDetector, FaceError
from synhead.faces.framing import Framing
from synhead.faces.mediapipe_backend import open_detector
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.composition import Composition, Layout, Step
from synhead.inference.footage import Footage, Shape, Shown, find_faces, open_footage
from synhead.inference.job import AnimationJob
from synhead.inference.report import AnimationReport, CropFact, StageSeconds, spans
from synhead.inference.sources import Photo, is_larger, open_source
from synhead.inference.steps import footage_steps, photo_steps, timed
from synhead.types import Keypoints

__all__ = ["AnimationJob", "AnimationReport", "Progress", "animate_video"]

Progress = Callable[[int, int | None], None]

WHOLE_FRAMES_AHEAD = 2
"""Full-size pictures read ahead: they may be large."""
PLAYABLE_PX = (4096, 2304)
"""What hardware decoders of H.264 show at most."""


def animate_video(animator: Animator, job: AnimationJob, progress: Progress | None = None) -> AnimationReport:
    """Animate the source of ``job`` with the motion of its driver.

    For a photograph the output has the driving video's timestamps and frame rate, for a source video its own. Memory
    does not grow with the length. An error or Ctrl-C leaves nothing behind and an earlier output untouched.
    ``progress`` is called with the number of frames written and their expected total (None if unknown). Raises
    MediaError before any work for bad inputs and outputs, FaceError where no face is found in the source.
    """
    check_output(job.output, inputs=(job.source, job.driving), suffixes=VIDEO_SUFFIXES)
    with ExitStack() as stack:
        scene = _open(animator, job, stack)
        writer = stack.enter_context(scene.writer())
        origin = scene.origin()
        frames = 0
        steps = scene.steps(stack, origin)
        while True:
            with scene.clock.stage("model"):
                step = next(steps, None)
            if step is None:
                break
            with scene.clock.stage("paste"):
                picture = scene.composition.compose(step)
            with scene.clock.stage("encode"):
                writer.write(picture, time=step.time, duration=step.duration)
            frames += 1
            if progress is not None:
                progress(frames, scene.expected)
        audio = writer.audio
        with scene.clock.stage("encode"):
            stack.close()
    return scene.report(frames, audio)
