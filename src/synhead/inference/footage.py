"""Videos as the model sees them: a first pass finds where the faces are, a second one yields their squares."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from synhead.data.files import check_input
from synhead.data.image import Fit, RgbImage
from synhead.data.video import VideoInfo, VideoReader, read_frame
from synhead.faces.analyzer import FaceDetector, FaceError
from synhead.faces.crops import Crop, extract
from synhead.faces.framing import FramedVideo, Framing, frame_video
from synhead.faces.mediapipe_backend import open_detector
from synhead.faces.sightings import FaceScanner, Sightings
from synhead.inference.clock import Clock
from synhead.inference.report import summary

LOOK_EVERY = 5
"""Frames between two looks for faces; a gap in which a face is lost is looked at frame by frame."""

REMEMBERED = 16
"""Videos whose faces are kept in mind, some hundred bytes a look each."""
_remembered: dict[tuple[Path, int, int, str], Sightings] = {}

ROOMY, ROOMY_PASTED = 1.5, 1.0
"""A face is followed where one crop for all frames is more than so many times as wide as one for a single frame."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame: its squares, one a chosen face; its whole picture, or the first square if that was not asked for."""

    index: int
    squares: tuple[RgbImage, ...]
    picture: RgbImage
    time: Fraction
    duration: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``size``: side of the squares in pixels. ``fit``: how a whole frame becomes one where no face is looked for.

    ``whole``: the full pictures are wanted too.
    """

    size: int
    fit: Fit = "crop"
    whole: bool = False


class Footage:
    """A video whose squares are known; iterates once over its frames."""

    def __init__(self, reader: VideoReader, framed: FramedVideo, shape: Shape, *, plain: bool) -> None:
        self.framed, self._reader, self._shape, self._plain = framed, reader, shape, plain

    @property
    def path(self) -> Path:
        """Of the video."""
        return self._reader.path

    @property
    def info(self) -> VideoInfo:
        """Of the video."""
        return self._reader.info

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, upright."""
        return self.info.width, self.info.height

    @property
    def found(self) -> bool:
        """Whether the squares are around faces that were found."""
        return self.framed.found

    def crops(self, index: int = 0) -> tuple[Crop, ...]:
        """Of the squares of a frame."""
        return tuple(path.at(index) for path in self.framed.paths)

    @property
    def skipped(self) -> int:
        """Damaged frames so far."""
        return self._reader.skipped

    @property
    def seconds(self) -> float:
        """Spent in reading so far."""
        return self._reader.seconds

    def __iter__(self) -> Iterator[Shown]:
        for index, frame in enumerate(self._reader):
            squares = self.squares(index, frame.image)
            yield Shown(index, squares, frame.image if self._shape.whole else squares[0], frame.time, frame.duration)

    def reopened(self, stack: ExitStack) -> Footage:
        """The same squares from the start, for a pass of its own; closed with ``stack``."""
        size = self._shape.size if self._plain else None
        reader = stack.enter_context(VideoReader(self.path, size=size, fit=self._shape.fit))
        return Footage(reader, self.framed, replace(self._shape, whole=False), plain=self._plain)

    def first_squares(self) -> Iterator[RgbImage]:
        """Of all frames, once."""
        return (shown.squares[0] for shown in self)

    def square_of(self, index: int) -> RgbImage:
        """The first square of one frame, read apart. Raises MediaError if there is none of that index."""
        image = read_frame(self.path, index, size=self._shape.size if self._plain else None, fit=self._shape.fit).image
        return self.squares(index, image)[0]

    def squares(self, index: int, image: RgbImage) -> tuple[RgbImage, ...]:
        """Of a frame as the reader gives it."""
        if self._plain:
            return (image,)
        return tuple(extract(image, crop, self._shape.size) for crop in self.crops(index))


def open_footage(path: Path, framing: Framing, sightings: Sightings | None, shape: Shape, stack: ExitStack) -> Footage:
    """The video, framed; closed with ``stack``. Raises MediaError, FaceError for a face that is never there.

    A square in the middle is scaled as it is decoded, so that full-size pictures are never made.
    """
    plain = not shape.whole and not framing.adjusts and (sightings is None or not sightings.any)
    reader = stack.enter_context(VideoReader(path, size=shape.size if plain else None, fit=shape.fit))
    info = reader.info
    # what is pasted back must stay clear of the border, where it fades
    roomy = ROOMY_PASTED if shape.whole else ROOMY
    framed = frame_video(sightings, (info.width, info.height), float(info.rate), framing, roomy=roomy)
    return Footage(reader, framed, shape, plain=plain)


def framed_footage(
    path: Path, framing: Framing, shape: Shape, detector: FaceDetector | None, clock: Clock, stack: ExitStack
) -> Footage:
    """The video with the squares that ``framing`` asks for: both passes. ``detector`` None: no face is looked for."""
    sightings = find_faces(path, detector, clock) if detector and framing.wants_faces else None
    return open_footage(path, framing, sightings, shape, stack)


def detector_if_there(stack: ExitStack) -> tuple[FaceDetector | None, str]:
    """A detector that is closed with ``stack``; or None, and what that means, if there is no backend."""
    try:
        return stack.enter_context(closing(open_detector())), ""
    except FaceError as error:
        return None, f"no faces can be looked for, so the square in the middle is taken: {error}"


def faceless_warnings(footage: Footage, name: str, option: str = "--driving-crop") -> tuple[str, ...]:
    """What to tell of frames without the face. ``option``: that chooses another square."""
    missing = footage.framed.missing
    if not missing:
        return ()
    if not footage.found:
        return (f"no face was found in the {name}: its middle is taken; choose another part with {option}",)
    return (
        f"the {name} does not show the face in {len(missing)} frames ({summary(missing)}): "
        "there the crop stays where it was",
    )


def find_faces(path: Path, detector: FaceDetector, clock: Clock) -> Sightings:
    """What is seen in a video; remembered, so that many sources with one driver look at him once. Raises MediaError."""
    file = check_input(path).stat()
    key = (path.resolve(), file.st_size, file.st_mtime_ns, detector.version)
    if key not in _remembered:
        found = _look_through(path, detector, clock)
        while len(_remembered) >= REMEMBERED:
            del _remembered[next(iter(_remembered))]
        _remembered[key] = found
    return _remembered[key]


def _look_through(path: Path, detector: FaceDetector, clock: Clock) -> Sightings:
    """The first pass. Frames that are not looked at are decoded, but not converted."""
    scanner = FaceScanner(detector, every=LOOK_EVERY)
    with VideoReader(path) as reader:
        pictures = reader.pictures()
        for done in itertools.count(1):
            with clock.stage("decode"):
                picture = next(pictures, None)
            if picture is None:
                break
            with clock.stage("faces"):
                scanner.add(partial(lambda shown: reader.frame(shown).image, picture))
            clock.looked(f"faces in {path.name}", done, reader.info.frames)
        with clock.stage("faces"):
            return scanner.finish()
