"""Which driving frame relative motion starts from: the one named, the best one found, or the first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from synhead.data.image import RgbImage
from synhead.faces.analyzer import FaceAnalyzer, FaceError
from synhead.faces.mediapipe_backend import open_analyzer
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.drivers import TemplateDriver, VideoDriver
from synhead.inference.footage import Footage
from synhead.inference.job import AnimationJob
from synhead.inference.recorded_faces import RecordedFaces
from synhead.inference.reference import describe, find_recorded, find_reference
from synhead.inference.scene import Scene
from synhead.types import Keypoints

FIRST = "driver frame 0, the first"
_NO_SHAPES = (
    "the template holds no face shapes, so no best driving frame can be found; name one with --reference INDEX, or "
    "record its clip again (synhead record)"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A driving frame and why it was taken. ``keypoints`` None: those of the first frame."""

    index: int
    reason: str
    keypoints: Keypoints | None = None
    warnings: tuple[str, ...] = ()


def choose_reference(animator: Animator, job: AnimationJob, scene: Scene, clock: Clock) -> Reference:
    """The reference of a job. Raises MediaError or TemplateError for a named frame that is not there."""
    if animator.options.motion == "absolute":
        return Reference(0, "none, as absolute motion needs none")
    chosen = _named(job, scene.driver) or _best(scene, clock)
    if chosen.index == 0:
        return chosen
    return Reference(chosen.index, chosen.reason, scene.driver.frame(chosen.index, animator), chosen.warnings)


def _named(job: AnimationJob, driver: VideoDriver | TemplateDriver) -> Reference | None:
    """By the user, or by whoever recorded the template."""
    if job.reference is not None:
        return Reference(job.reference, f"driver frame {job.reference}, as named")
    if isinstance(driver, TemplateDriver) and driver.template.reference is not None:
        return Reference(driver.template.reference, f"driver frame {driver.template.reference}, as recorded")
    return None


def _best(scene: Scene, clock: Clock) -> Reference:
    """By landmarks of the squares that the model sees, those of a template being the squares it was recorded from."""
    driver = scene.driver
    if not scene.source.found or (isinstance(driver, VideoDriver) and not driver.footage.found):
        return Reference(0, f"{FIRST}, as no faces could be compared")
    search: Callable[[FaceAnalyzer, RgbImage], Reference]
    if isinstance(driver, VideoDriver):
        search = partial(_search_video, driver, clock)
    elif driver.template.faces is not None:
        search = partial(_search_recorded, driver.template.faces)
    else:
        return Reference(0, FIRST, warnings=(_NO_SHAPES,))
    try:
        with clock.stage("faces"), closing(open_analyzer()) as analyzer:
            return search(analyzer, scene.first_square())
    except FaceError as error:
        return Reference(0, FIRST, warnings=(f"no best driving frame can be found ({error})",))


def _search_video(driver: VideoDriver, clock: Clock, analyzer: FaceAnalyzer, portrait: RgbImage) -> Reference:
    what = f"the best frame in {driver.footage.path.name}"
    match = find_reference(
        analyzer,
        portrait,
        driver.footage.path,
        view=partial(_square, driver.footage, clock),
        told=lambda done: clock.looked(what, done, driver.expected),
    )
    return Reference(match.index, describe(match))


def _search_recorded(faces: RecordedFaces, analyzer: FaceAnalyzer, portrait: RgbImage) -> Reference:
    match = find_recorded(analyzer, portrait, faces)
    if faces.analyzer == analyzer.version:
        return Reference(match.index, describe(match))
    other = (
        f"the template's faces were measured by {faces.analyzer}, the portrait's by {analyzer.version}: "
        "the clip itself may be given another reference"
    )
    return Reference(match.index, describe(match), warnings=(other,))


def _square(footage: Footage, clock: Clock, index: int, image: RgbImage) -> RgbImage:
    clock.check()
    return footage.squares(index, image)[0]
