"""Which driving frame relative motion starts from: the one named, the best one found, or the first."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial

from synhead.data.image import RgbImage
from synhead.faces.analyzer import FaceError
from synhead.faces.mediapipe_backend import open_analyzer
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.drivers import TemplateDriver, VideoDriver
from synhead.inference.footage import Footage
from synhead.inference.job import AnimationJob
from synhead.inference.reference import describe, find_reference
from synhead.inference.scene import Scene
from synhead.types import Keypoints

__all__ = ["Reference", "choose_reference"]

FIRST = "driver frame 0, the first"


@dataclass(frozen=True, slots=True)
class Reference:
    """A driving frame and why it was taken. ``keypoints`` None: those of the first frame."""

    index: int
    reason: str
    keypoints: Keypoints | None = None
    warnings: tuple[str, ...] = ()


def choose_reference(animator: Animator, job: AnimationJob, scene: Scene, clock: Clock) -> Reference:
    """The reference of a job. Raises MediaError or TemplateError for a named frame that is not there."""
    driver = scene.driver
    if animator.options.motion == "absolute":
        return Reference(0, "none, as absolute motion needs none")
    if job.reference is not None:
        chosen = Reference(job.reference, f"driver frame {job.reference}, as named")
    elif isinstance(driver, TemplateDriver):
        recorded = driver.template.reference
        chosen = Reference(recorded or 0, FIRST if recorded is None else f"driver frame {recorded}, as recorded")
    elif scene.source.found and driver.footage.found:
        with clock.stage("faces"):
            chosen = _search(scene, driver, clock)
    else:
        chosen = Reference(0, f"{FIRST}, as no faces could be compared")
    if chosen.index == 0:
        return chosen
    return Reference(chosen.index, chosen.reason, driver.frame(chosen.index, animator), chosen.warnings)


def _search(scene: Scene, driver: VideoDriver, clock: Clock) -> Reference:
    """The best frame by landmarks of the squares that the model sees."""
    what = f"the best frame in {driver.footage.path.name}"
    try:
        with closing(open_analyzer()) as analyzer:
            match = find_reference(
                analyzer,
                scene.first_square(),
                driver.footage.path,
                view=partial(_square, driver.footage, clock),
                told=lambda done: clock.looked(what, done, driver.expected),
            )
    except FaceError as error:
        return Reference(0, FIRST, warnings=(f"no best driving frame can be found ({error})",))
    return Reference(match.index, describe(match))


def _square(footage: Footage, clock: Clock, index: int, image: RgbImage) -> RgbImage:
    clock.check()
    return footage.squares(index, image)[0]
