"""What takes part in an animation, opened and framed: the source and whoever drives it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction

from synhead.config import ConfigError
from synhead.data.errors import MediaError
from synhead.data.image import IMAGE_SUFFIXES, RgbImage, is_animation
from synhead.data.still_writer import one_picture
from synhead.data.video import check_frame
from synhead.faces.framing import Framing
from synhead.faces.selection import FaceChoice
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.composition import Layout
from synhead.inference.drivers import TemplateDriver, VideoDriver
from synhead.inference.footage import Footage, Shape, detector_if_there, faceless_warnings, framed_footage
from synhead.inference.job import AnimationJob
from synhead.inference.openings import NO_OPENINGS
from synhead.inference.report import CropFact, Spans, spans
from synhead.inference.retargeting import Strengths
from synhead.inference.sources import Photo, is_larger, open_source, reduction
from synhead.inference.template import MotionTemplate
from synhead.inference.template_file import is_template, read_template

PLAYABLE_PX = (4096, 2304)
"""What hardware decoders of H.264 show at most."""
SILENT = "the portrait is a photo, which has no sound: leave --audio source out for the driver's"


@dataclass(frozen=True, slots=True)
class Scene:
    """Files stay open as long as the stack they were opened with. ``pasted``: into the source's whole picture."""

    source: Photo | Footage
    driver: VideoDriver | TemplateDriver
    pasted: bool
    warnings: tuple[str, ...]

    @property
    def rate(self) -> Fraction:
        """Of the output, frames a second: a source video's own, else the driver's."""
        return self.source.info.rate if isinstance(self.source, Footage) else self.driver.rate

    @property
    def time_base(self) -> Fraction:
        """In which the output's times are whole."""
        return self.source.info.time_base if isinstance(self.source, Footage) else self.driver.time_base

    @property
    def expected(self) -> int | None:
        """Frames of the output, at most."""
        return self.source.info.frames if isinstance(self.source, Footage) else self.driver.expected

    @property
    def faces(self) -> int:
        """How many are animated."""
        return len(self.source.crops())

    @property
    def skipped(self) -> int:
        """Frames of the videos that were damaged, so far."""
        return sum(footage.skipped for footage in self._videos())

    @property
    def reading_seconds(self) -> float:
        """Spent in reading the videos, so far."""
        return sum((footage.seconds for footage in self._videos()), 0.0)

    def output_size(self, layout: Layout, side: int) -> tuple[int, int]:
        """(width, height) of the output, where the model's squares are ``side`` pixels wide."""
        if layout.pasted:
            factor = reduction(*self.source.size, layout.max_side)
            return max(1, round(self.source.size[0] * factor)), max(1, round(self.source.size[1] * factor))
        return (2 * self.faces + int(self.driver.shows) if layout.side_by_side else self.faces) * side, side

    def first_square(self) -> RgbImage:
        """Of the source."""
        return self.source.square_of(0) if isinstance(self.source, Footage) else self.source.squares[0]

    def source_crops(self) -> tuple[CropFact, ...]:
        """Squares of the source, as they begin."""
        if isinstance(self.source, Footage):
            return _path_facts(self.source)
        chosen = self.source.framed.chosen or (None,)
        return tuple(CropFact.of(crop, face=face) for crop, face in zip(self.source.crops(), chosen, strict=True))

    def driving_crop(self) -> CropFact | None:
        """The driver's square, if he is seen."""
        return _path_facts(self.driver.footage)[0] if isinstance(self.driver, VideoDriver) else None

    def faceless(self) -> Spans:
        """Driving frames without the face."""
        return spans(self.driver.footage.framed.missing) if isinstance(self.driver, VideoDriver) else ()

    def source_faceless(self) -> Spans:
        """Frames of a source video without the face."""
        return spans(self.source.framed.missing) if isinstance(self.source, Footage) else ()

    def _videos(self) -> Iterator[Footage]:
        if isinstance(self.source, Footage):
            yield self.source
        if isinstance(self.driver, VideoDriver):
            yield self.driver.footage


def open_scene(animator: Animator, job: AnimationJob, clock: Clock, stack: ExitStack) -> Scene:
    """Open both files with ``stack`` and find the faces.

    Raises MediaError or TemplateError for files that cannot be used and a named frame that is not there, ConfigError
    for other openings of a template, FaceError where the source shows no face.
    """
    template = _checked_driver(animator, job)
    detector, problem = detector_if_there(stack) if _wants_faces(job) else (None, "")
    wanted = job.options.paste_back
    may_paste = wanted == "always" or (wanted == "auto" and job.framing.crop != "center")
    square = Shape(size=animator.image_size, fit=animator.options.fit)
    shape = replace(square, whole=may_paste and not job.options.side_by_side)
    source = open_source(job.source, job.framing, shape, detector, clock, stack)
    if isinstance(source, Photo) and job.output.suffix.lower() in IMAGE_SUFFIXES and _moves(job, template):
        raise one_picture(job.output)
    driver: VideoDriver | TemplateDriver
    if template is not None:
        driver = TemplateDriver(template)
    else:
        driver = VideoDriver(framed_footage(job.driving, job.driving_framing, square, detector, clock, stack), stack)
    pasted = shape.whole and (wanted == "always" or _is_worth_pasting(source, job.framing))
    scene = Scene(source, driver, pasted, (problem,) if problem else ())
    return replace(scene, warnings=(*scene.warnings, *_told(scene, job)))


def _checked_driver(animator: Animator, job: AnimationJob) -> MotionTemplate | None:
    """The template, if one drives. What does not fit, or a named frame that is not there, is told before the passes
    through the videos, which may take minutes.
    """
    named = job.reference if animator.options.motion == "relative" else None
    if not is_template(job.driving):
        if named is not None:
            check_frame(job.driving, named)
        return None
    if job.openings != Strengths():
        raise ConfigError(NO_OPENINGS)
    template = read_template(job.driving)
    template.check_model(animator.fingerprint, name=str(job.driving))
    if named is not None:
        template.frame(named)
    return template


def _moves(job: AnimationJob, template: MotionTemplate | None) -> bool:
    """Whether the driver has more than one frame."""
    if template is not None:
        return len(template) > 1
    try:
        check_frame(job.driving, 1)
    except MediaError:
        return False
    return True


def _wants_faces(job: AnimationJob) -> bool:
    return job.framing.wants_faces or (job.driving_framing.wants_faces and not is_template(job.driving))


def _of_photo(photo: Photo, job: AnimationJob) -> Iterator[str]:
    if job.options.audio == "source":
        yield SILENT
    if is_animation(job.source):
        yield "the portrait is an animation, and its first picture is animated; of a video all would be"
    if len(photo.framed.faces) > 1 and FaceChoice.parse(job.framing.face).policy == "largest":
        yield (
            f"{len(photo.framed.faces)} faces were found, and the largest is animated: "
            "--face all, or numbers from the left such as 0,1, takes others"
        )


def _told(scene: Scene, job: AnimationJob) -> Iterator[str]:
    if isinstance(scene.source, Photo):
        yield from _of_photo(scene.source, job)
    if isinstance(scene.driver, VideoDriver):
        yield from faceless_warnings(scene.driver.footage, "driving video")
    if isinstance(scene.source, Footage):
        yield from faceless_warnings(scene.source, "source video", "--crop")
    yield from _without_effect(scene, job)
    factor = reduction(*scene.source.size, job.options.max_side)
    width, height = (round(factor * side) for side in scene.source.size)
    if scene.pasted and (max(width, height) > PLAYABLE_PX[0] or min(width, height) > PLAYABLE_PX[1]):
        yield (
            f"the picture has {width} x {height} pixels, and many players show at most "
            f"{PLAYABLE_PX[0]} x {PLAYABLE_PX[1]}: --max-side 1920 makes it smaller"
        )


def _without_effect(scene: Scene, job: AnimationJob) -> Iterator[str]:
    """Options that change nothing beside what else was asked for."""
    framing, driving = job.framing, job.driving_framing
    if framing.face != "largest" and not framing.wants_faces:
        yield "--face is without effect: --crop says which square of the portrait is animated"
    if framing.upright and not (framing.wants_faces and isinstance(scene.source, Photo)):
        yield "--upright is without effect: only squares around faces of photos are turned"
    if isinstance(scene.driver, TemplateDriver):
        if (driving.face, driving.crop) != ("largest", "auto"):
            yield "--driving-face and --driving-crop are without effect: a template is the motion of one square"
    elif driving.face != "largest" and not driving.wants_faces:
        yield "--driving-face is without effect: --driving-crop says which square of the driver is followed"


def _is_worth_pasting(source: Photo | Footage, framing: Framing) -> bool:
    """Whether a crop was chosen, and the source shows more than it."""
    chosen = source.found or framing.adjusts
    return chosen and any(is_larger(*source.size, crop) for crop in source.crops())


def _path_facts(footage: Footage) -> tuple[CropFact, ...]:
    paths = footage.framed.paths
    return tuple(CropFact.of(path.at(0), moves=path.following) for path in paths)
