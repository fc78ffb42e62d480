"""One portrait driven by pictures that come one by one, each drawn at once; knows nothing of cameras and networks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from copy import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synhead.app.live.errors import LiveError
from synhead.config import ConfigError
from synhead.data.image import RgbImage, fit_image
from synhead.faces.analyzer import FaceDetector, FaceError
from synhead.faces.crops import extract
from synhead.faces.follower import FaceFollower
from synhead.faces.framing import Framing, frame_photo
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.footage import detector_if_there
from synhead.inference.motion_edits import MotionEdits
from synhead.inference.smoothing import Smoothing
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.label import DEFAULT_TEXT, Label
from synhead.types import Keypoints

MAX_LABEL = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """``crop``: the portrait's square, around its face or in its middle. ``multiplier``: how large movements become.
    ``smooth``: frames by which a still face lags, 0 none. ``label``: words in a corner of every picture, "" none.
    """

    crop: Literal["auto", "center"] = "auto"
    multiplier: float = 1.0
    smooth: float = 0.0
    label: str = DEFAULT_TEXT

    def __post_init__(self) -> None:
        if len(self.label) > MAX_LABEL:
            raise ConfigError(f"the label has {len(self.label)} characters; give at most {MAX_LABEL}")
        self.motion()

    def motion(self) -> AnimatorOptions:
        """The same for an Animator that draws frame by frame. Raises ConfigError."""
        smoothing = Smoothing(mode="causal", frames=self.smooth) if self.smooth else None
        edits = MotionEdits(multiplier=self.multiplier, smoothing=smoothing)
        return AnimatorOptions(batch_size=1, edits=edits)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSeconds:
    """Where a picture's time went: finding the face and its square, waiting for the model, keypoints, drawing."""

    faces: float = 0.0
    turn: float = 0.0
    keypoints: float = 0.0
    draw: float = 0.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """The animated portrait. ``face``: whether the picture showed one; if not this is what was drawn before."""

    picture: RgbImage
    face: bool
    seconds: StageSeconds


class LiveSession:
    """One thread draws. The first face seen is the reference: the pose that is taken to be the portrait's.

    ``turn`` is held while the model runs, so that sessions take turns.
    """

    def __init__(
        self,
        animator: Animator,
        portrait: RgbImage,
        options: LiveOptions,
        detector: FaceDetector | None,
        *,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        self._animator = copy(animator)
        self._animator.options = options.motion()
        self._turn = turn or nullcontext()
        self._follower = None if detector is None else FaceFollower(detector)
        self._label = _label(options.label, self.size)
        self._recentre = threading.Event()
        self._moves: deque[Keypoints] = deque()
        self._stream: Iterator[RgbImage] | None = None
        with self._turn:
            self._animator.observe(_square_of(portrait, options, detector, self.size))
        self._shown = self._labelled(self._animator.portrait)

    @property
    def size(self) -> int:
        """Side of the pictures drawn, in pixels."""
        return self._animator.image_size

    @property
    def finds_faces(self) -> bool:
        """Whether there is a detector; else the middle of every picture is taken."""
        return self._follower is not None

    def recentre(self) -> None:
        """From any thread: the next face seen is the new reference, and its square is chosen anew."""
        self._recentre.set()

    def draw(self, picture: RgbImage, seconds: float) -> Drawn:
        """The portrait in the pose of a picture taken at ``seconds`` of a steady clock."""
        start = time.perf_counter()
        square = self._square(picture, seconds)
        looked = time.perf_counter()
        if square is None:
            return Drawn(self._shown, face=False, seconds=StageSeconds(faces=looked - start))
        with self._turn:
            begin = time.perf_counter()
            # alone, not through track(), whose batches of two give a file's frames the same bits at twice the time
            keypoints = self._animator.engine.keypoints([square])
            found = time.perf_counter()
            self._shown = self._labelled(self._follow(keypoints))
            end = time.perf_counter()
        seconds_of = StageSeconds(faces=looked - start, turn=begin - looked, keypoints=found - begin, draw=end - found)
        return Drawn(self._shown, face=True, seconds=seconds_of)

    def _square(self, picture: RgbImage, seconds: float) -> RgbImage | None:
        """What the model sees: the square around the driver's face; None while there is none."""
        if self._recentre.is_set():
            self._recentre.clear()
            self._stream = None
            if self._follower is not None:
                self._follower.recentre()
        if self._follower is None:
            return fit_image(picture, self.size)
        crop = self._follower.crop(picture, seconds)
        return None if crop is None else extract(picture, crop, self.size)

    def _follow(self, keypoints: Keypoints) -> RgbImage:
        if self._stream is None:
            self._moves.clear()
            self._stream = self._animator.follow(_popped(self._moves), reference=keypoints)
        self._moves.append(keypoints)
        return next(self._stream)

    def _labelled(self, picture: RgbImage) -> RgbImage:
        return picture if self._label is None else self._label.apply(picture)


def open_session(
    animator: Animator,
    portrait: RgbImage,
    options: LiveOptions,
    stack: ExitStack,
    *,
    turn: AbstractContextManager[object] | None = None,
) -> LiveSession:
    """A session whose detector, if this machine has one, is closed with ``stack``. Raises LiveError."""
    detector, _ = detector_if_there(stack)
    try:
        return LiveSession(animator, portrait, options, detector, turn=turn)
    except ProvenanceError as error:
        raise LiveError.of("bad_options", error) from error


def _square_of(portrait: RgbImage, options: LiveOptions, detector: FaceDetector | None, size: int) -> RgbImage:
    try:
        framed = frame_photo(portrait, Framing(crop=options.crop), detector)
    except FaceError as error:
        raise LiveError(
            "no_face",
            "no face was found in the portrait",
            "choose another picture, or take its middle (crop: center; --center on the command line)",
        ) from error
    return extract(portrait, framed.crops[0], size)


def _label(text: str, size: int) -> Label | None:
    """Raises ProvenanceError if it does not fit. Of the usual words two letters fit the smallest model."""
    if not text:
        return None
    square = (size, size)
    try:
        label = Label(text, square)
        label.apply(np.zeros((size, size, 3), np.uint8))
    except ProvenanceError:
        if text != DEFAULT_TEXT:
            raise
        label = Label(DEFAULT_TEXT[:2], square)
    return label


def _popped(moves: deque[Keypoints]) -> Iterator[Keypoints]:
    """What is appended before each step; there is always one, as nothing here looks ahead."""
    while True:
        yield moves.popleft()
