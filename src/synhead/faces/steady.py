"""Crops for a whole video that stay where they are: one a track as in training, or following without breathing."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from synhead.faces.boxes import Box
from synhead.faces.crops import Crop
from synhead.faces.sightings import Followed
from synhead.faces.tracking import Track, crop_around, crop_for, held_still
from synhead.types import NDArray

Movement = Literal["auto", "fixed", "follow"]
Path = Float[NDArray[Any], "n 3"]
"""Centre x, centre y and side of a crop at each frame, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """``movement``: ``fixed`` keeps one crop a track, as training clips have; ``follow`` moves it after the face;
    ``auto`` follows only a face that a fixed crop would show small.

    Following crops: ``still`` and ``still_size``, shares of the side by which face and size may change while the crop
    does not move at all; ``smoothing_s``: seconds (standard deviation of a Gaussian) over which it moves.
    """

    movement: Movement = "auto"
    still: float = 0.05
    still_size: float = 0.1
    smoothing_s: float = 0.4
    roomy: float = 1.5
    """``auto`` follows where the fixed crop is more than so many times as wide as one for a single frame."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Frames from ``first`` on: one crop, or one a frame."""

    first: int
    crops: Path

    def at(self, frame: int) -> Crop:
        row = self.crops[min(max(0, frame - self.first), len(self.crops) - 1)]
        return Crop(float(row[0]), float(row[1]), float(row[2]))


@dataclass(frozen=True, slots=True)
class CropPath:
    """The crop at every frame of a video. ``following``: whether it moves within a scene."""

    stretches: tuple[_Stretch, ...]

    @property
    def following(self) -> bool:
        """Whether it moves within a scene."""
        return any(len(stretch.crops) > 1 for stretch in self.stretches)

    def at(self, frame: int) -> Crop:
        """The crop at a frame; beyond the last one it stays."""
        index = bisect_right([stretch.first for stretch in self.stretches], frame) - 1
        return self.stretches[max(0, index)].at(frame)

    def moved(self, *, scale: float = 1.0, right: float = 0.0, down: float = 0.0) -> CropPath:
        """Every crop enlarged and shifted by shares of its side."""
        change = np.array([right, down, 0.0])
        factor = np.array([1.0, 1.0, scale])
        return CropPath(tuple(_Stretch(s.first, s.crops * factor + s.crops[:, 2:] * change) for s in self.stretches))

    def inside(self, width: int, height: int) -> CropPath:
        """Every crop shifted into a picture of that size, as far as it fits."""
        return CropPath(tuple(_Stretch(s.first, _shifted(s.crops, width, height)) for s in self.stretches))


def constant_path(crop: Crop) -> CropPath:
    """The same crop throughout."""
    return CropPath((_Stretch(0, np.array([[crop.x, crop.y, crop.side]])),))


def crop_path(followed: Followed, frames: int, rate: float, steadiness: Steadiness | None = None) -> CropPath:
    """Crops for a followed face (at least one track) in a video of so many frames at ``rate`` frames a second."""
    wanted = steadiness or Steadiness()
    stretches = []
    for number, track in enumerate(followed.tracks):
        first = track.frames[0] if number else 0
        last = followed.tracks[number + 1].frames[0] - 1 if number + 1 < len(followed.tracks) else frames - 1
        fixed = crop_around(_typical(track.boxes))
        if wanted.movement == "fixed" or (wanted.movement == "auto" and fixed.side <= wanted.roomy * _needed(track)):
            whole = fixed.in_whole_pixels()
            crops = np.array([[whole.x, whole.y, whole.side]])
        else:
            crops = smooth_path(_targets(track, first, max(first, last)), rate, wanted)
        stretches.append(_Stretch(first, crops))
    return CropPath(tuple(stretches))


def smooth_path(targets: Path, rate: float, steadiness: Steadiness) -> Path:
    """Targets followed with a dead zone, then smoothed: a face that only jitters does not move the crop at all."""
    start = max(1, round(steadiness.smoothing_s * rate))
    held = np.median(targets[: 2 * start + 1], axis=0)
    lazy = np.empty_like(targets)
    for index, target in enumerate(targets):
        held = held_still(held, target, steadiness.still, steadiness.still_size)
        lazy[index] = held
    return _gaussian(lazy, steadiness.smoothing_s * rate)


def _shifted(crops: Path, width: int, height: int) -> Path:
    x, y, side = crops.T
    half = side / 2
    inside_x = np.where(side > width, x, np.clip(x, half, np.maximum(half, width - half)))
    inside_y = np.where(side > height, y, np.clip(y, half, np.maximum(half, height - half)))
    return np.stack([inside_x, inside_y, side], axis=1)


def _gaussian(values: Path, sigma: float) -> Path:
    reach = max(1, round(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    weights /= weights.sum()
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, weights, mode="valid") for column in padded.T], axis=1)


def _targets(track: Track, first: int, last: int) -> Path:
    crops = [crop_for(track.at(frame)) for frame in range(first, last + 1)]
    return np.array([(crop.x, crop.y, crop.side) for crop in crops])


def _needed(track: Track) -> float:
    return float(np.median([crop_for(box).side for box in track.boxes]))


def _typical(boxes: list[Box]) -> list[Box]:
    """Without single boxes far from their neighbours in time: one false detection must not widen the crop."""
    if len(boxes) < 3:
        return boxes
    edges = np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])
    padded = np.pad(edges, ((1, 1), (0, 0)), mode="reflect")
    median = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    return [Box(*row) for row in median.tolist()]
