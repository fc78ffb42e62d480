"""A clip becomes a motion template: decode, find keypoints, keep them with their times; pictures are not kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from synhead.config import ConfigError, to_json
from synhead.data.image import RgbImage
from synhead.data.prefetch import prefetch
from synhead.data.video import Frame, check_frame
from synhead.faces.analyzer import FaceError
from synhead.faces.framing import Framing
from synhead.faces.mediapipe_backend import open_analyzer
from synhead.inference.animator import Animator
from synhead.inference.clock import Clock
from synhead.inference.footage import Shape, Shown, detector_if_there, faceless_warnings, framed_footage
from synhead.inference.keypoint_stream import joined
from synhead.inference.recorded_faces import FaceRecorder, RecordedFaces
from synhead.inference.template import MotionTemplate, TemplateError, TemplateOrigin
from synhead.types import Keypoints

ReferenceRule = int | Literal["auto", "first"]
"""Which frame relative motion will start from: the one of that index; the one that fits the portrait best, for which
the clip's faces are recorded; or the first.
"""


@dataclass(frozen=True, slots=True)
class Recording:
    """A template, how many damaged frames the clip had, and what else to tell, one line each."""

    template: MotionTemplate
    skipped: int
    warnings: tuple[str, ...] = ()


def record_video(
    animator: Animator,
    driving: Path,
    *,
    checkpoint: str = "",
    reference: ReferenceRule = "auto",
    framing: Framing | None = None,
    clock: Clock | None = None,
) -> Recording:
    """The motion of a clip, and with the reference ``auto`` also the face in each frame, if its square is around one.

    Memory grows with the clip: 360 MB for twenty minutes, until they are written; 80 MB without the faces.
    ``checkpoint``: what the user calls the weights. ``framing``: which square of the frames is looked at, by default
    the middle. ``clock``: one that tells of both passes, or whose check may end the run. Raises ConfigError for a
    framing of several faces, MediaError for what is no video and, before the passes, for a reference that is not there.
    """
    fit = animator.options.fit
    framing, clock = framing or Framing(crop="center"), clock or Clock()
    if not framing.one_face:
        raise ConfigError("a template holds the motion of one face: choose largest, leftmost or one number")
    if isinstance(reference, int):
        check_frame(driving, reference)
    with ExitStack() as stack:
        detector, problem = detector_if_there(stack) if framing.wants_faces else (None, "")
        shape = Shape(size=animator.image_size, fit=fit)
        footage = framed_footage(driving, framing, shape, detector, clock, stack)
        faces, no_faces = _face_recorder(stack) if reference == "auto" and footage.found else (None, "")
        recorder = MotionRecorder()
        ahead = stack.enter_context(closing(prefetch(footage, 2 * animator.options.batch_size)))
        for done in record_frames(animator, _squares(ahead, faces), recorder):
            clock.looked(f"motion in {driving.name}", done, footage.info.frames)
        origin = TemplateOrigin(model=animator.fingerprint, checkpoint=checkpoint, fit=fit, crop=to_json(framing))
        template = recorder.template(
            footage.info.rate,
            footage.info.time_base,
            origin,
            reference=reference if isinstance(reference, int) else None,
            faces=None if faces is None else faces.faces(footage.info.frames),
        )
        told = (*filter(None, (problem, no_faces)), *faceless_warnings(footage, "driving video", "--crop"))
        return Recording(template=template, skipped=footage.skipped, warnings=told)


def _face_recorder(stack: ExitStack) -> tuple[FaceRecorder | None, str]:
    """One whose analyzer is closed with ``stack``; or None, and what that means, if there is no backend."""
    try:
        return FaceRecorder(stack.enter_context(closing(open_analyzer()))), ""
    except FaceError as error:
        return None, f"no face shapes are recorded, so that the first frame will be the reference: {error}"


def _squares(footage: Iterable[Shown], faces: FaceRecorder | None) -> Iterator[Frame]:
    """What the detector sees, which ``faces`` sees too."""
    for shown in footage:
        square = shown.squares[0]
        if faces is not None:
            faces.add(square)
        yield Frame(square, shown.time, shown.duration)


def record_frames(animator: Animator, frames: Iterable[Frame], recorder: MotionRecorder) -> Iterator[int]:
    """Frames, perhaps cropped already, into ``recorder``; yields how many are done after each batch."""
    shown: deque[Frame] = deque()

    def pictures() -> Iterator[RgbImage]:
        for frame in frames:
            shown.append(frame)
            yield frame.image

    for batch in animator.track(pictures()):
        done = [shown.popleft() for _ in range(batch.position.shape[0])]
        yield recorder.add(batch, [frame.time for frame in done], [frame.duration for frame in done])


class MotionRecorder:
    """Collects the motion of a clip, whoever finds it."""

    def __init__(self) -> None:
        self._motion: list[Keypoints] = []
        self._times: list[Fraction] = []
        self._durations: list[Fraction] = []

    def add(self, keypoints: Keypoints, times: Iterable[Fraction], durations: Iterable[Fraction]) -> int:
        """A batch of frames; returns how many there are now."""
        self._motion.append(Keypoints(position=keypoints.position.cpu(), jacobian=keypoints.jacobian.cpu()))
        self._times += times
        self._durations += durations
        return len(self._times)

    def template(
        self,
        rate: Fraction,
        time_base: Fraction,
        origin: TemplateOrigin,
        *,
        reference: int | None = None,
        faces: RecordedFaces | None = None,
    ) -> MotionTemplate:
        """What was added. Raises TemplateError if that is nothing, or if there is no such reference frame."""
        if not self._motion:
            raise TemplateError("the clip has no frames, so it has no motion; give another clip")
        return MotionTemplate(
            keypoints=joined(self._motion),
            times=tuple(self._times),
            durations=tuple(self._durations),
            rate=rate,
            time_base=time_base,
            origin=origin,
            reference=reference,
            faces=faces,
        )
