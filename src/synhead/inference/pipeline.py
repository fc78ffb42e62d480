"""Portrait and driving video in, video with sound out: decode, model and encode, streaming."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from synhead.data.audio import AudioMode
from synhead.data.files import check_output
from synhead.data.image import RgbImage, read_image
from synhead.data.prefetch import prefetch
from synhead.data.video import VIDEO_SUFFIXES, Frame, VideoReader, VideoWriter, read_frame
from synhead.inference.animator import Animator

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """``reference_frame``: index of the driving frame whose pose is taken to be the portrait's (relative motion).

    ``side_by_side``: show source, driving frame and result in a row. ``audio``: keep the driver's sound. ``crf``: see
    VideoWriter.
    """

    reference_frame: int = 0
    side_by_side: bool = False
    audio: bool = True
    crf: int = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSeconds:
    """Busy time of each stage; decoding overlaps the others, so that the sum may exceed the time that passed."""

    decode: float
    model: float
    encode: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimationReport:
    """What was done: frames written, driving frames skipped as damaged, frame rate, and what became of the sound."""

    frames: int
    skipped: int
    rate: Fraction
    audio: AudioMode
    seconds: StageSeconds


def animate_video(
    animator: Animator,
    portrait: Path,
    driving: Path,
    output: Path,
    options: VideoOptions | None = None,
    progress: Progress | None = None,
) -> AnimationReport:
    """Animate ``portrait`` with the motion of ``driving`` into ``output`` (.mp4, .m4v, .mov or .mkv).

    The output has the driving video's timestamps, frame rate and sound. Memory does not grow with the length. An
    error or Ctrl-C leaves nothing behind and an earlier output untouched. ``progress`` is called with the number of
    frames written and their expected total (None if unknown). Raises MediaError before any work for bad inputs and
    outputs.
    """
    options = options or VideoOptions()
    check_output(output, inputs=(portrait, driving), suffixes=VIDEO_SUFFIXES)
    source = read_image(portrait)
    size, fit = animator.image_size, animator.options.fit
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(driving, size=size, fit=fit))
        writer = stack.enter_context(
            VideoWriter(
                output,
                rate=reader.info.rate,
                size=(3 * size if options.side_by_side else size, size),
                audio_from=driving if options.audio else None,
                crf=options.crf,
                time_base=reader.info.time_base,
            )
        )
        reference = None
        if options.reference_frame and animator.options.motion == "relative":
            reference = read_frame(driving, options.reference_frame, size=size, fit=fit).image
        animator.observe(source)
        run = _Run(animator, reader, writer, options)
        run.all_frames(reference, progress)
        audio = writer.audio
    return AnimationReport(
        frames=run.frames,
        skipped=reader.skipped,
        rate=reader.info.rate,
        audio=audio,
        seconds=StageSeconds(decode=reader.seconds, model=run.model_s, encode=run.encode_s),
    )


class _Run:
    """One pass of a video through the model, with the clock of each stage."""

    def __init__(self, animator: Animator, reader: VideoReader, writer: VideoWriter, options: VideoOptions) -> None:
        self._animator, self._reader, self._writer, self._options = animator, reader, writer, options
        self._pending: deque[Frame] = deque()
        self._waiting_s = 0.0
        self.frames, self.model_s, self.encode_s = 0, 0.0, 0.0

    def all_frames(self, reference: RgbImage | None, progress: Progress | None) -> None:
        """Every frame of the reader through the model into the writer."""
        start = time.perf_counter()
        depth = 2 * self._animator.options.batch_size
        with closing(prefetch(self._reader, depth)) as frames:
            for image in self._animator.animate(self._images(frames), reference=reference):
                self._write(image, self._pending.popleft())
                if progress is not None:
                    progress(self.frames, self._reader.info.frames)
        self.model_s = time.perf_counter() - start - self._waiting_s - self.encode_s

    def _images(self, frames: Iterator[Frame]) -> Iterator[RgbImage]:
        """The driving pictures; their times are kept aside until the model is done with them."""
        while True:
            start = time.perf_counter()
            frame = next(frames, None)
            self._waiting_s += time.perf_counter() - start
            if frame is None:
                return
            self._pending.append(frame)
            yield frame.image

    def _write(self, image: RgbImage, frame: Frame) -> None:
        start = time.perf_counter()
        if self._options.side_by_side:
            image = np.concatenate([self._animator.portrait, frame.image, image], axis=1)
        self._writer.write(image, time=frame.time, duration=frame.duration)
        self.frames += 1
        self.encode_s += time.perf_counter() - start
