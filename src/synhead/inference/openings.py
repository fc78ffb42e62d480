"""Retargeting of mouth and eyes in a run: a pass over the driver that measures, before the one that renders."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice

from synhead.config import ConfigError
from synhead.data.image import RgbImage
from synhead.faces.analyzer import AnalyzerOptions
from synhead.faces.mediapipe_backend import open_analyzer
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.drivers import Moves, TemplateDriver, VideoDriver
from synhead.inference.face_shape import Openings, openings
from synhead.inference.retargeting import FaceMeasure, Response, ResponseFit, Strengths, retarget

NO_OPENINGS = "a template shows no mouth and no eyes: leave --mouth and --eyes at 1, or give its clip"


@dataclass(frozen=True, slots=True)
class Measured:
    """How far mouth and eyes are open in each driving frame and at rest, and what the keypoints do when they open."""

    response: Response
    openings: tuple[Openings, ...]
    rest: Openings

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be learnt from this driver."""
        return tuple(
            f"the keypoints of this driver do not follow the {what}: its opening is left as driven"
            for what in self.response.unusable
        )


def measure(
    animator: Animator, driver: VideoDriver | TemplateDriver, reference: int, clock: Clock | None = None
) -> Measured:
    """Keypoints and landmarks of all driving frames; of each only the openings are kept.

    Raises ConfigError for a template, which shows no faces, and for a driver that shows too few; FaceError without a
    backend.
    """
    if isinstance(driver, TemplateDriver):
        raise ConfigError(NO_OPENINGS)
    fit = ResponseFit()
    found: list[Openings | None] = []
    shown: deque[RgbImage] = deque()
    with ExitStack() as stack:
        analyzer = stack.enter_context(closing(open_analyzer(AnalyzerOptions(mode="video"))))
        for batch in animator.track(_kept(driver.footage.reopened(stack).first_squares(), shown)):
            squares = [shown.popleft() for _ in range(batch.position.shape[0])]
            faces = [next(iter(analyzer.landmarks(square)), None) for square in squares]
            fit.add(batch, [None if face is None else FaceMeasure.of(face) for face in faces])
            found += [None if face is None else openings(face) for face in faces]
            if clock is not None:
                clock.looked(f"mouth and eyes in {driver.footage.path.name}", len(found), driver.expected)
    rest = found[reference] if reference < len(found) else None
    rest = rest or next((each for each in found if each is not None), Openings(mouth=0.0, eyes=0.0))
    return Measured(fit.solve(), tuple(_held(found, rest)), rest)


def retargeted(driving: Iterable[Moves], measured: Measured, strengths: Strengths) -> Iterator[Moves]:
    """The driver with larger or smaller openings."""
    faces = iter(measured.openings)
    for moves in driving:
        shown = islice(faces, moves.keypoints.position.shape[0])
        keypoints = retarget(moves.keypoints, shown, measured.rest, measured.response, strengths)
        yield Moves(keypoints, moves.frames)


def _held(found: Iterable[Openings | None], rest: Openings) -> Iterator[Openings]:
    """A frame without a face holds the last openings, at the start those at rest."""
    last = rest
    for each in found:
        last = each or last
        yield last


def _kept(squares: Iterable[RgbImage], shown: deque[RgbImage]) -> Iterator[RgbImage]:
    for square in squares:
        shown.append(square)
        yield square
