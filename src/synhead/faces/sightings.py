"""Faces of a video: looked for in every few frames, and one of them followed from look to look."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from synhead.faces.analyzer import FaceBox, FaceDetector
from synhead.faces.boxes import Box
from synhead.faces.locate import locate_faces, look_at
from synhead.faces.selection import FaceChoice
from synhead.faces.tracking import Track, same_face
from synhead.types import NDArray

Picture = Callable[[], UInt8[NDArray[np.uint8], "h w 3"]]
"""A frame, converted only if it is looked at."""

_PATIENCE_FRAMES = 12
"""Another face is followed only once the one before has been away for so long."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """Faces, from left to right, at the frames that were looked at. ``frames``: of the whole video."""

    frames: int
    looks: tuple[tuple[int, tuple[FaceBox, ...]], ...]

    @property
    def any(self) -> bool:
        """Whether a face was seen at all."""
        return any(faces for _, faces in self.looks)


class FaceScanner:
    """Looks at every ``every``-th frame; where faces get fewer, or there are some after none, also at those before.

    So frames without a face are known one by one: between two looks without any there is none, and gaps that begin and
    end between two looks are not seen.
    """

    def __init__(self, detector: FaceDetector, *, every: int = 5) -> None:
        self._detector, self._every = detector, max(1, every)
        self._passed: deque[tuple[int, Picture]] = deque(maxlen=self._every - 1)
        self._looks: list[tuple[int, tuple[FaceBox, ...]]] = []
        self._seen, self._since, self._frames = 0, 0, 0
        self._small = False

    def add(self, picture: Picture) -> None:
        """The next frame."""
        index, self._frames = self._frames, self._frames + 1
        self._since += 1
        if self._looks and self._since < self._every:
            self._passed.append((index, picture))
            return
        faces = self._look(picture)
        if len(faces) < self._seen or (faces and not self._seen):
            self._look_back()
        elif not faces:
            self._looks += [(passed, ()) for passed, _ in self._passed]
        self._looks.append((index, faces))
        self._passed.clear()
        self._seen, self._since = len(faces), 0

    def finish(self) -> Sightings:
        """All that was seen, with a look at the last frames if there was nobody before them."""
        if not self._seen:
            self._look_back()
        return Sightings(self._frames, tuple(self._looks))

    def _look_back(self) -> None:
        self._looks += [(passed, self._look(earlier)) for passed, earlier in self._passed]
        self._passed.clear()

    def _look(self, picture: Picture) -> tuple[FaceBox, ...]:
        """Faces too small for one look at the whole frame are searched for at the start, and on if there are any."""
        image = picture()
        if self._small:
            return locate_faces(image, self._detector)
        faces = look_at(image, self._detector)
        if not faces and not self._looks:
            faces = locate_faces(image, self._detector)
            self._small = bool(faces)
        return faces


@dataclass(slots=True)
class Followed:
    """One face through a video. ``tracks``: one a scene, in order. ``missing``: frames looked at without it."""

    tracks: list[Track] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)


def follow(sightings: Sightings, choice: FaceChoice | None = None) -> Followed:
    """The chosen face from look to look. Where it is away its last box is held, so that a crop stays where it was.

    A face elsewhere is taken for it, and begins a new track, only if it stays. Raises FaceError for an index that no
    look has.
    """
    choice = choice or FaceChoice()
    followed = Followed()
    strays: list[tuple[int, Box]] = []
    for frame, faces in _from_chosen(sightings, choice):
        box = same_face(faces, followed.tracks[-1].boxes[-1]) if followed.tracks else None
        if box is not None:
            followed.missing += [stray for stray, _ in strays]
            strays.clear()
            _go_on(followed, frame, box)
        elif not faces:
            followed.missing.append(frame)
        else:
            strays.append((frame, _chosen(faces, choice)))
            if not followed.tracks or frame - strays[0][0] >= _PATIENCE_FRAMES:
                _begin(followed, strays)
    followed.missing += [stray for stray, _ in strays]
    followed.missing.sort()
    return followed


def _from_chosen(sightings: Sightings, choice: FaceChoice) -> list[tuple[int, tuple[FaceBox, ...]]]:
    """Looks, those before the chosen index is first there emptied."""
    needed = max(choice.indices, default=0) + 1
    first = next((at for at, faces in sightings.looks if len(faces) >= needed), None)
    if first is None:
        most = max((faces for _, faces in sightings.looks), key=len, default=())
        choice.of(most)  # raises, unless there is no face at all
        return list(sightings.looks)
    return [(frame, faces if frame >= first else ()) for frame, faces in sightings.looks]


def _chosen(faces: tuple[FaceBox, ...], choice: FaceChoice) -> Box:
    index = min(choice.of(faces)[0], len(faces) - 1) if len(faces) > max(choice.indices, default=0) else 0
    return faces[index].box


def _go_on(followed: Followed, frame: int, box: Box) -> None:
    track = followed.tracks[-1]
    if followed.missing and followed.missing[-1] > track.frames[-1]:
        track.frames.append(frame - 1)
        track.boxes.append(track.boxes[-1])
    track.frames.append(frame)
    track.boxes.append(box)


def _begin(followed: Followed, strays: list[tuple[int, Box]]) -> None:
    followed.tracks.append(Track([frame for frame, _ in strays], [box for _, box in strays]))
    strays.clear()
