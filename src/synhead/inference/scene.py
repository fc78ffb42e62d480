"""What takes part in an animation, opened and framed: the source and whoever drives it."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass

from synhead.faces.analyzer import FaceDetector, FaceError
from synhead.faces.framing import Framing
from synhead.faces.mediapipe_backend import open_detector
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.drivers import Driver, TemplateDriver, VideoDriver
from synhead.inference.footage import Footage, Shape, find_faces, open_footage
from synhead.inference.job import AnimationJob
from synhead.inference.report import summary
from synhead.inference.sources import Photo, is_larger, open_source
from synhead.inference.template_file import TEMPLATE_SUFFIXES, read_template

__all__ = ["Scene", "open_scene"]


@dataclass(frozen=True, slots=True)
class Scene:
    """Files stay open as long as the stack they were opened with. ``pasted``: into the source's whole picture."""

    source: Photo | Footage
    driver: VideoDriver | TemplateDriver
    pasted: bool
    warnings: tuple[str, ...]

    @property
    def timeline(self) -> Footage | Driver:
        """Whose timestamps the output has."""
        return self.source if isinstance(self.source, Footage) else self.driver


def open_scene(animator: Animator, job: AnimationJob, clock: Clock, stack: ExitStack) -> Scene:
    """Open both files with ``stack`` and find the faces.

    Raises MediaError or TemplateError for files that cannot be used, FaceError where the source shows no face.
    """
    warnings: list[str] = []
    detector = _detector(job, stack, warnings)
    wanted = job.options.paste_back
    may_paste = wanted == "always" or (wanted == "auto" and job.framing.crop != "center")
    shape = Shape(
        size=animator.image_size, fit=animator.options.fit, whole=may_paste and not job.options.side_by_side
    )
    source = open_source(job.source, job.framing, shape, detector, clock, stack)
    driver = _driver(animator, job, detector, clock, stack)
    if isinstance(driver, VideoDriver):
        _warn_of_faceless(driver.footage, "driving video", warnings)
    if isinstance(source, Footage):
        _warn_of_faceless(source, "source video", warnings)
    pasted = shape.whole and (wanted == "always" or _is_worth_pasting(source, job.framing))
    return Scene(source, driver, pasted, tuple(warnings))


def _detector(job: AnimationJob, stack: ExitStack, warnings: list[str]) -> FaceDetector | None:
    """None if no face is wanted, or if there is no backend to find one: then the middle of the picture has to do."""
    template = job.driving.suffix.lower() in TEMPLATE_SUFFIXES
    if not job.framing.wants_faces and (template or not job.driving_framing.wants_faces):
        return None
    try:
        return stack.enter_context(closing(open_detector()))
    except FaceError as error:
        warnings.append(f"no faces can be looked for, so the square in the middle is taken: {error}")
        return None


def _driver(
    animator: Animator, job: AnimationJob, detector: FaceDetector | None, clock: Clock, stack: ExitStack
) -> VideoDriver | TemplateDriver:
    if job.driving.suffix.lower() in TEMPLATE_SUFFIXES:
        template = read_template(job.driving)
        template.check_model(animator.fingerprint, name=str(job.driving))
        return TemplateDriver(template)
    framing = job.driving_framing
    sightings = find_faces(job.driving, detector, clock) if detector and framing.wants_faces else None
    shape = Shape(size=animator.image_size, fit=animator.options.fit)
    return VideoDriver(job.driving, open_footage(job.driving, framing, sightings, shape, stack), stack)


def _warn_of_faceless(footage: Footage, name: str, warnings: list[str]) -> None:
    missing = footage.framed.missing
    if footage.framed.found and missing:
        warnings.append(
            f"the {name} shows no face, or not the followed one, in {len(missing)} frames ({summary(missing)}); "
            "there the crop stays where it was"
        )
    elif missing:
        warnings.append(f"no face was found in the {name}: its middle is taken; choose a part with a crop box")


def _is_worth_pasting(source: Photo | Footage, framing: Framing) -> bool:
    """Whether a crop was chosen, and the source shows more than it."""
    if isinstance(source, Footage):
        chosen = source.framed.found or framing.adjusts
        size, crops = (source.info.width, source.info.height), [path.at(0) for path in source.framed.paths]
    else:
        chosen = bool(source.framed.faces) or framing.adjusts
        height, width = source.image.shape[:2]
        size, crops = (width, height), list(source.framed.crops)
    return chosen and any(is_larger(*size, crop) for crop in crops)
