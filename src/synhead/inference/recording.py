"""A clip becomes a motion template: decode, find keypoints, keep them with their times; pictures are not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from synhead.data.image import RgbImage
from synhead.data.prefetch import prefetch
from synhead.data.video import Frame, VideoReader
from synhead.inference.animator import Animator
from synhead.inference.keypoint_stream import joined
from synhead.inference.template import MotionTemplate, TemplateError, TemplateOrigin
from synhead.types import Keypoints

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """A template, and how many damaged frames the clip had."""

    template: MotionTemplate
    skipped: int


def record_video(
    animator: Animator,
    driving: Path,
    *,
    checkpoint: str = "",
    reference: int | None = None,
    progress: Progress | None = None,
) -> Recording:
    """The motion of a clip. Memory grows by under two kilobytes a frame: 60 MB for twenty minutes.

    ``checkpoint``: what the user calls the weights. ``reference``: the frame posed most like a portrait. ``progress``
    is called with the number of frames done and their expected total (None if unknown). Raises MediaError for what is
    no video, TemplateError for a reference that is not there.
    """
    fit = animator.options.fit
    with VideoReader(driving, size=animator.image_size, fit=fit) as reader:
        recorder = MotionRecorder(animator)
        with closing(prefetch(reader, 2 * animator.options.batch_size)) as frames:
            for done in recorder.take(frames):
                if progress is not None:
                    progress(done, reader.info.frames)
        origin = TemplateOrigin(model=animator.fingerprint, checkpoint=checkpoint, fit=fit)
        template = recorder.template(reader.info.rate, reader.info.time_base, origin, reference=reference)
        return Recording(template=template, skipped=reader.skipped)


class MotionRecorder:
    """Keeps the motion of frames that may already be cropped, and forgets their pictures."""

    def __init__(self, animator: Animator) -> None:
        self._animator = animator
        self._motion: list[Keypoints] = []
        self._times: list[Fraction] = []
        self._durations: list[Fraction] = []

    def take(self, frames: Iterable[Frame]) -> Iterator[int]:
        """Work through a clip; yields the number of frames done after each batch."""
        done = 0
        for batch in self._animator.track(self._pictures(frames)):
            self._motion.append(Keypoints(position=batch.position.cpu(), jacobian=batch.jacobian.cpu()))
            done += batch.position.shape[0]
            yield done

    def template(
        self, rate: Fraction, time_base: Fraction, origin: TemplateOrigin, *, reference: int | None = None
    ) -> MotionTemplate:
        """What was taken. Raises TemplateError if that is nothing, or if there is no such reference frame."""
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
        )

    def _pictures(self, frames: Iterable[Frame]) -> Iterator[RgbImage]:
        for frame in frames:
            self._times.append(frame.time)
            self._durations.append(frame.duration)
            yield frame.image
