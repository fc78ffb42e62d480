"""The driving frame most like the portrait in pose and expression: the reference of relative motion (spec E)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synhead.data.image import RgbImage
from synhead.data.video import VideoReader
from synhead.faces.analyzer import FaceAnalyzer, FaceError, FaceLandmarks
from synhead.faces.pose import HeadPose
from synhead.inference.face_shape import FaceShape, Openings, face_shape, pose_change, shape_difference
from synhead.inference.recorded_faces import RecordedFaces

View = Callable[[int, RgbImage], RgbImage]
"""From a frame's index and picture to what is looked at."""

Look = Callable[[Callable[[int], bool], int | None], Iterator[tuple[int, FaceShape | None]]]
"""The faces of those driving frames, of the indices up to a last one, that are wanted."""

MAX_LOOKS = 150
DEFAULT_STEP = 5
CANDIDATES = 3
ALIKE = 0.2
TURN_DEG = 3.0
MOUTH, EYES = 0.08, 0.06
"""Differences from which on a user is told of them."""

_NO_PORTRAIT = "no face was found in the portrait, so no reference frame can be chosen; name one: --reference 0"
_NO_DRIVER = "no face was found in the driver, so no reference frame can be chosen; name one: --reference 0"


@dataclass(frozen=True, slots=True)
class ReferenceMatch:
    """The frame that fits best, and how it still differs: driver minus portrait.

    ``score``: of shape_difference, 0 for the same pose and expression. ``turn`` is None where a pose is unknown.
    ``looked``: frames in which a face was sought; ``without_face``: those where none was found.
    """

    index: int
    score: float
    turn: HeadPose | None
    openings: Openings
    looked: int
    without_face: int


class ReferenceSearch:
    """Takes the faces of frames, each once and in any order, and remembers only the best few."""

    def __init__(self, portrait: FaceShape | None) -> None:
        if portrait is None:
            raise FaceError(_NO_PORTRAIT)
        self._portrait = portrait
        self._best: list[tuple[float, int, FaceShape]] = []
        self._looked = self._without_face = 0

    def offer(self, index: int, shape: FaceShape | None) -> None:
        """The face of that driving frame, or None if it has none."""
        self._looked += 1
        if shape is None:
            self._without_face += 1
            return
        # negated, because a heap drops its smallest; of equal frames the earliest stays
        heapq.heappush(self._best, (-shape_difference(self._portrait, shape), -index, shape))
        if len(self._best) > CANDIDATES:
            heapq.heappop(self._best)

    def candidates(self) -> list[int]:
        """Indices of the best frames so far."""
        return sorted(-index for _, index, _ in self._best)

    def best(self) -> ReferenceMatch:
        """The winner. Raises FaceError if no frame had a face."""
        if not self._best:
            raise FaceError(_NO_DRIVER)
        score, index, shape = max(self._best, key=lambda entry: entry[:2])
        ours, theirs = self._portrait.openings, shape.openings
        return ReferenceMatch(
            index=-index,
            score=-score,
            turn=pose_change(self._portrait.pose, shape.pose),
            openings=Openings(mouth=theirs.mouth - ours.mouth, eyes=theirs.eyes - ours.eyes),
            looked=self._looked,
            without_face=self._without_face,
        )


def find_reference(
    analyzer: FaceAnalyzer,
    portrait: RgbImage,
    driving: Path,
    *,
    step: int | None = None,
    view: View | None = None,
    told: Callable[[int], None] | None = None,
) -> ReferenceMatch:
    """The best frame of a video, reading it once for every ``step``-th frame and once more around the best of these.

    Only the frames that are looked at are converted, and none is kept. ``step``: by default such that about 150 are
    looked at. ``view``: what to look at of a frame, by default all of it. ``analyzer`` must be in image mode, since
    frames are skipped; the largest face counts. ``told``: how many frames have been passed, at each look of the first
    reading. Raises FaceError as ReferenceSearch does, MediaError for what is no video.
    """
    view = view or _all_of_it

    def look(wanted: Callable[[int], bool], last: int | None) -> Iterator[tuple[int, FaceShape | None]]:
        for index, image in _pictures(driving, wanted, last):
            yield index, _shape(_largest(analyzer, view(index, image)))
            if told is not None and last is None:
                told(index + 1)

    return _search(_shape(_largest(analyzer, portrait)), step or _step(_announced(driving)), look)


def find_recorded(analyzer: FaceAnalyzer, portrait: RgbImage, faces: RecordedFaces) -> ReferenceMatch:
    """What :func:`find_reference` finds in the clip that ``faces`` were recorded from, with the same analyzer."""

    def look(wanted: Callable[[int], bool], last: int | None) -> Iterator[tuple[int, FaceShape | None]]:
        count = len(faces) if last is None else min(len(faces), last + 1)
        return ((index, faces.shape(index)) for index in range(count) if wanted(index))

    return _search(_shape(_largest(analyzer, portrait)), _step(faces.announced), look)


def _search(portrait: FaceShape | None, step: int, look: Look) -> ReferenceMatch:
    """Every ``step``-th frame, then all around the best of these."""
    search = ReferenceSearch(portrait)
    for index, shape in look(lambda index: index % step == 0, None):
        search.offer(index, shape)
    near = [range(candidate - step + 1, candidate + step) for candidate in search.candidates()]
    if near and step > 1:
        last = max(around.stop for around in near) - 1
        for index, shape in look(lambda index: index % step > 0 and any(index in around for around in near), last):
            search.offer(index, shape)
    return search.best()


def describe(match: ReferenceMatch) -> str:
    """One sentence for the user: the frame, and what is left between it and the portrait."""
    told = f"driver frame {match.index} fits the portrait best"
    if match.without_face:
        told += f" ({match.without_face} of {match.looked} frames looked at show no face)"
    rest = [*_turns(match.turn), *_expressions(match.openings)]
    if rest:
        return f"{told}; in it, compared with the portrait, {', '.join(rest)}"
    return f"{told}; {'it is very like it' if match.score < ALIKE else 'pose and expression are alike'}"


def _turns(turn: HeadPose | None) -> Iterator[str]:
    if turn is None:
        return
    for angle, positive, negative in (
        (turn.yaw, "turned {} degrees to the right of the picture", "turned {} degrees to the left of the picture"),
        (turn.pitch, "lowered by {} degrees", "raised by {} degrees"),
        (turn.roll, "tilted clockwise by {} degrees", "tilted anticlockwise by {} degrees"),
    ):
        if abs(angle) >= TURN_DEG:
            yield "the head is " + (positive if angle > 0 else negative).format(round(abs(angle)))


def _expressions(openings: Openings) -> Iterator[str]:
    for what, difference, threshold in (("mouth is", openings.mouth, MOUTH), ("eyes are", openings.eyes, EYES)):
        if abs(difference) >= threshold:
            yield f"the {what} {'wider open' if difference > 0 else 'more closed'}"


def _all_of_it(index: int, image: RgbImage) -> RgbImage:
    del index
    return image


def _largest(analyzer: FaceAnalyzer, image: RgbImage) -> FaceLandmarks | None:
    return next(iter(analyzer.landmarks(image)), None)


def _shape(face: FaceLandmarks | None) -> FaceShape | None:
    return None if face is None else face_shape(face)


def _announced(driving: Path) -> int | None:
    with VideoReader(driving) as reader:
        return reader.info.frames


def _step(frames: int | None) -> int:
    """Between the frames looked at first, of a video that announces so many."""
    return DEFAULT_STEP if frames is None else max(1, -(-frames // MAX_LOOKS))


def _pictures(driving: Path, wanted: Callable[[int], bool], last: int | None) -> Iterator[tuple[int, RgbImage]]:
    """The wanted frames with their indices; reading ends with the last one."""
    with VideoReader(driving) as reader:
        for index, picture in enumerate(reader.pictures()):
            if wanted(index):
                yield index, reader.frame(picture).image
            if index == last:
                return
