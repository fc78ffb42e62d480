"""From what the user wants to the crops of a photograph or of a video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from synhead.config import ConfigError
from synhead.faces.analyzer import FaceBox, FaceDetector, FaceError
from synhead.faces.crops import Crop, centred_crop
from synhead.faces.locate import locate_faces
from synhead.faces.selection import FaceChoice
from synhead.faces.sightings import Sightings, follow
from synhead.faces.steady import CropPath, Movement, Steadiness, constant_path, crop_path
from synhead.faces.tracking import crop_for
from synhead.types import NDArray

CropMode = Literal["auto", "center", "box"]
MAX_SCALE = 4.0
MAX_PX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """Which square of a picture the model sees.

    ``crop``: ``auto`` around the chosen face as training clips have it, ``center``, or ``box``: a square around
    ``box`` (left, top, right, bottom in pixels of the upright picture). ``face``: see FaceChoice. ``scale`` enlarges
    the square, ``right`` and ``down`` shift it by shares of its side. ``upright`` turns it with a tilted head
    (photographs only). ``movement``: how the square of a video moves, see Steadiness.
    """

    crop: CropMode = "auto"
    box: tuple[float, ...] | None = None
    face: str = "largest"
    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0
    upright: bool = False
    movement: Movement = "auto"

    def __post_init__(self) -> None:
        FaceChoice.parse(self.face)
        if not 1 / MAX_SCALE <= self.scale <= MAX_SCALE:
            raise ConfigError(f"crop scale {self.scale} must be from {1 / MAX_SCALE:g} to {MAX_SCALE:g}")
        if not all(abs(shift) <= 1 for shift in (self.right, self.down)):
            raise ConfigError(f"crop shift {self.right}, {self.down} must be shares of the side, from -1 to 1")
        if (self.crop == "box") != (self.box is not None):
            raise ConfigError("a crop box needs left, top, right and bottom in pixels, and goes with crop 'box' alone")
        if self.box is not None and not _is_box(self.box):
            raise ConfigError(
                f"crop box {self.box} must be left, top, right, bottom with left < right and top < bottom, "
                f"none beyond {MAX_PX} pixels"
            )

    @property
    def wants_faces(self) -> bool:
        """Whether a detector is needed."""
        return self.crop == "auto"

    @property
    def one_face(self) -> bool:
        """Whether it asks for a single square, as a driver has."""
        choice = FaceChoice.parse(self.face)
        return choice.policy != "all" and len(choice.indices) <= 1

    @property
    def adjusts(self) -> bool:
        """Whether the square of the middle is not what is wanted where there is no face."""
        return self.box is not None or (self.scale, self.right, self.down) != (1.0, 0.0, 0.0)

    def fixed(self, width: int, height: int) -> Crop:
        """The crop that needs no face: around the box, or in the middle."""
        if self.box is None:
            return self.adjusted(centred_crop(width, height))
        left, top, right, bottom = self.box
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            raise FaceError(
                f"crop box {self.box} lies outside the picture of {width} x {height} pixels; move it inside"
            )
        return self.adjusted(Crop((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)))

    def adjusted(self, crop: Crop) -> Crop:
        """Enlarged and shifted as asked for; in whole pixels, as training crops are, unless it is tilted."""
        moved = crop.moved(scale=self.scale, right=self.right, down=self.down)
        return moved if moved.tilt else moved.in_whole_pixels()


@dataclass(frozen=True, slots=True)
class FramedPhoto:
    """All faces of a photograph from left to right, indices of the chosen ones, and a crop for each of these.

    Without a detector there are no faces, and one crop.
    """

    faces: tuple[FaceBox, ...]
    chosen: tuple[int, ...]
    crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True)
class FramedVideo:
    """Paths of crops, one a chosen face, and the frames looked at in which the first of them was not seen."""

    paths: tuple[CropPath, ...]
    missing: tuple[int, ...] = ()
    found: bool = False


def frame_photo(
    image: UInt8[NDArray[np.uint8], "h w 3"], framing: Framing, detector: FaceDetector | None
) -> FramedPhoto:
    """Crops for a photograph; ``detector`` None: as if faces were not wanted. Raises FaceError if there is no face."""
    height, width = image.shape[:2]
    if detector is None or not framing.wants_faces:
        return FramedPhoto((), (), (framing.fixed(width, height),))
    faces = locate_faces(image, detector)
    if not faces:
        raise FaceError(
            "no face was found in the portrait; choose the part of it yourself: "
            "--crop LEFT,TOP,RIGHT,BOTTOM in pixels, or --crop center"
        )
    chosen = FaceChoice.parse(framing.face).of(faces)
    crops = tuple(framing.adjusted(_around(faces[index], framing)).inside(width, height) for index in chosen)
    return FramedPhoto(faces, chosen, crops)


def frame_video(
    sightings: Sightings | None, size: tuple[int, int], rate: float, framing: Framing, *, roomy: float = 1.5
) -> FramedVideo:
    """Crops for a video of ``size`` (width, height). Without sightings, or where no face was seen, the fixed crop.

    ``roomy``: see Steadiness.
    """
    if sightings is None or not sightings.any:
        missing = () if sightings is None else tuple(frame for frame, _ in sightings.looks)
        return FramedVideo((constant_path(framing.fixed(*size)),), missing)
    steadiness = Steadiness(movement=framing.movement, roomy=roomy)
    all_followed = [follow(sightings, choice) for choice in _each_face(FaceChoice.parse(framing.face), sightings)]
    paths = tuple(
        crop_path(followed, sightings.frames, rate, steadiness)
        .moved(scale=framing.scale, right=framing.right, down=framing.down)
        .inside(*size)
        for followed in all_followed
    )
    return FramedVideo(paths, tuple(all_followed[0].missing), found=True)


def _each_face(choice: FaceChoice, sightings: Sightings) -> list[FaceChoice]:
    """One choice for each face to be followed; those of ``all`` are counted where most are seen."""
    if choice.policy == "all":
        most = max(len(faces) for _, faces in sightings.looks)
        return [FaceChoice(policy="index", indices=(index,)) for index in range(most)]
    if choice.policy == "index":
        return [FaceChoice(policy="index", indices=(index,)) for index in choice.indices]
    return [choice]


def _is_box(numbers: tuple[float, ...]) -> bool:
    """NaN is in no order."""
    if len(numbers) != 4 or not all(abs(number) <= MAX_PX for number in numbers):
        return False
    left, top, right, bottom = numbers
    return left < right and top < bottom


def _around(face: FaceBox, framing: Framing) -> Crop:
    """The training crop of a face; turned about the middle of the face with its eyes if asked for."""
    crop = crop_for(face.box)
    if not framing.upright:
        return crop
    x, y = face.box.centre
    # a face has more room above than below: which way that is turns with the head
    return Crop(x, y, crop.side, face.tilt).along(down=crop.y - y)
