"""Source and driver in, animated video with sound out: faces, crops, model, paste back, encode, streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from synhead.data.audio import AudioMode
from synhead.data.files import check_input
from synhead.data.outputs import OutputSpec, open_output
from synhead.data.prefetch import prefetch
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.composition import Composition, Layout, Step
from synhead.inference.drivers import Moves, timed
from synhead.inference.footage import Footage
from synhead.inference.job import AnimationJob
from synhead.inference.openings import measure, retargeted
from synhead.inference.reference_choice import Reference, choose_reference
from synhead.inference.report import AnimationReport, StageSeconds
from synhead.inference.retargeting import Strengths
from synhead.inference.scene import Scene, open_scene
from synhead.inference.sources import Photo
from synhead.inference.steps import footage_steps, photo_steps
from synhead.provenance.marker import default_marker
from synhead.provenance.statement import Statement
from synhead.types import Keypoints

__all__ = ["AnimationJob", "AnimationReport", "Progress", "animate_video", "check_job", "check_paths"]

Progress = Callable[[int, int | None], None]

WHOLE_FRAMES_AHEAD = 2
"""Full-size pictures read ahead: they may be large."""


def animate_video(
    animator: Animator,
    job: AnimationJob,
    progress: Progress | None = None,
    *,
    statement: Statement | None = None,
    clock: Clock | None = None,
) -> AnimationReport:
    """Animate the source of ``job`` with the motion of its driver.

    For a photograph the output has the driver's timestamps and frame rate, for a source video its own. Memory does not
    grow with the length. An error or Ctrl-C leaves nothing behind and an earlier output untouched. ``progress`` is
    called with the number of frames written and their expected total (None if unknown). ``statement``: what the mark
    says of the model. ``clock``: one that tells of the passes before, or whose check may end the run. Raises what
    :func:`check_job` does before any work, FaceError where no face is found.
    """
    check_job(job)
    clock, frames = clock or Clock(), 0
    with ExitStack() as stack:
        scene = open_scene(animator, job, clock, stack)
        composition = _composition(animator, job, scene)
        marked = replace(statement or Statement(), source_type="composite" if scene.pasted else "trained")
        spec = _spec(job, scene, composition.size, marked)
        reference = choose_reference(animator, job, scene, clock)
        motion = _motion(animator, job, scene, reference, clock)
        steps = _steps(animator, job, scene, motion, clock, stack)
        with clock.stage("encode"), open_output(job.output, spec) as output:
            while (step := _next(steps, clock)) is not None:
                with clock.stage("paste"):
                    picture = composition.compose(step)
                output.write(picture, time=step.time, duration=step.duration)
                frames += 1
                if progress is not None:
                    progress(frames, scene.expected)
            audio = output.audio
        written = _Written(frames, composition.size, audio, marked.source_uri, motion.warnings)
        return _report(animator, scene, reference, written, clock)


@dataclass(frozen=True, slots=True)
class _Motion:
    """What the driver does, and where relative motion starts from."""

    moves: Iterator[Moves]
    origin: Keypoints | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Written:
    frames: int
    size: tuple[int, int]
    audio: AudioMode
    marked: str
    warnings: tuple[str, ...]


def _report(animator: Animator, scene: Scene, reference: Reference, written: _Written, clock: Clock) -> AnimationReport:
    seconds = StageSeconds(
        decode=clock.seconds["decode"] + scene.reading_seconds,
        faces=clock.seconds["faces"],
        model=clock.seconds["model"],
        paste=clock.seconds["paste"],
        encode=clock.seconds["encode"],
    )
    return AnimationReport(
        frames=written.frames,
        skipped=scene.skipped,
        rate=scene.rate,
        size=written.size,
        pasted=scene.pasted,
        audio=written.audio,
        marked=written.marked,
        source_crops=scene.source_crops(),
        driving_crop=scene.driving_crop(),
        reference=reference.index,
        reference_reason=reference.reason,
        faceless=scene.faceless(),
        source_faceless=scene.source_faceless(),
        engine=animator.engine.name,
        precision=animator.precision,
        warnings=(*scene.warnings, *reference.warnings, *written.warnings),
        seconds=seconds,
    )


def check_job(job: AnimationJob) -> None:
    """What would only fail at the end is told before any work: raises MediaError for wrong paths and for a codec or
    quality that the output cannot have, ProvenanceError for a signer whose mark would not hold.
    """
    check_paths((job.source, job.driving), job.output)
    options = job.options
    spec = OutputSpec(rate=Fraction(1), size=(2, 2), marking=None, codec=options.codec, crf=options.crf)
    open_output(job.output, spec)
    default_marker(certificate=options.certificate, key=options.key).check(job.output)


def check_paths(inputs: tuple[Path, ...], output: Path) -> None:
    """Wrong paths are told before any work. Raises MediaError."""
    for path in inputs:
        check_input(path)
    open_output(output, OutputSpec(rate=Fraction(1), size=(2, 2), marking=None, inputs=inputs))


def _spec(job: AnimationJob, scene: Scene, size: tuple[int, int], statement: Statement) -> OutputSpec:
    options = job.options
    sound = {"driver": job.driving if scene.driver.shows else None, "source": job.source, "none": None}[options.audio]
    if options.audio == "source" and not isinstance(scene.source, Footage):
        sound = None
    return OutputSpec(
        rate=scene.rate,
        size=size,
        marking=default_marker(statement, certificate=options.certificate, key=options.key),
        inputs=(job.source, job.driving),
        audio_from=sound,
        codec=options.codec,
        crf=options.crf,
        time_base=scene.time_base,
    )


def _composition(animator: Animator, job: AnimationJob, scene: Scene) -> Composition:
    layout = Layout(
        pasted=scene.pasted,
        max_side=job.options.max_side,
        side_by_side=job.options.side_by_side,
        label=job.options.label,
    )
    return Composition(layout, scene.output_size(layout, animator.image_size))


def _motion(animator: Animator, job: AnimationJob, scene: Scene, reference: Reference, clock: Clock) -> _Motion:
    moves = scene.driver.moves(animator, clock)
    if job.openings == Strengths():
        return _Motion(moves, reference.keypoints)
    with clock.stage("faces"):
        measured = measure(animator, scene.driver, reference.index, clock)
    return _Motion(retargeted(moves, measured, job.openings), reference.keypoints, measured.warnings)


def _steps(
    animator: Animator, job: AnimationJob, scene: Scene, motion: _Motion, clock: Clock, stack: ExitStack
) -> Iterator[Step]:
    if isinstance(scene.source, Photo):
        return photo_steps(animator, scene.source, motion.moves, motion.origin)
    ahead = stack.enter_context(closing(prefetch(scene.source, WHOLE_FRAMES_AHEAD)))
    sound: Literal["driver", "source"] = "driver" if job.options.audio == "driver" else "source"
    return footage_steps(animator, scene.source, timed(ahead, clock), motion.moves, motion.origin, clock_of=sound)


def _next(steps: Iterator[Step], clock: Clock) -> Step | None:
    with clock.stage("model"):
        return next(steps, None)
