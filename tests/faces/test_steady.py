from __future__ import annotations

import numpy as np
import pytest

from synhead.faces.boxes import Box
from synhead.faces.crops import Crop
from synhead.faces.sightings import Followed
from synhead.faces.steady import Steadiness, constant_path, crop_path, smooth_path
from synhead.faces.tracking import Track, square_crop

RATE = 25.0


def box(x: float, y: float = 200.0, height: float = 200.0) -> Box:
    return Box(x - 0.4 * height, y - height / 2, x + 0.4 * height, y + height / 2)


def noisy(frames: int, seed: int = 0) -> Followed:
    """A still face of 200 px; the detector errs by 3 px (one standard deviation) in place and size."""
    noise = np.random.default_rng(seed).normal(scale=3.0, size=(frames, 3))
    boxes = [box(300 + dx, 200 + dy, 200 + dh) for dx, dy, dh in noise]
    return Followed([Track(list(range(frames)), boxes)])


def moves(path, frames: int) -> np.ndarray:
    places = np.array([(crop.x, crop.y, crop.side) for crop in map(path.at, range(frames))])
    return np.abs(np.diff(places, axis=0))


@pytest.mark.parametrize("movement", ["auto", "fixed", "follow"])
def test_on_a_still_subject_the_crop_moves_less_than_half_a_pixel(movement):
    for seed in range(5):
        path = crop_path(noisy(300, seed), 300, RATE, Steadiness(movement=movement))
        assert moves(path, 300).max() < 0.5


def test_without_the_dead_zone_it_would_breathe():
    lazy = Steadiness(movement="follow", still=0.0, still_size=0.0, smoothing_s=0.04)
    assert moves(crop_path(noisy(300), 300, RATE, lazy), 300).max() > 0.5


def test_one_fixed_crop_a_track_as_in_training():
    boxes = [box(300.0 + i) for i in range(40)]
    path = crop_path(Followed([Track(list(range(0, 200, 5)), boxes)]), 200, RATE)
    assert not path.following
    assert path.at(0) == path.at(199)
    assert path.at(7).rounded() == square_crop(boxes)


def test_one_false_detection_does_not_widen_it():
    boxes = [box(300.0)] * 40
    boxes[20] = box(900.0)
    path = crop_path(Followed([Track(list(range(40)), boxes)]), 40, RATE)
    assert path.at(0).rounded() == square_crop([box(300.0)])


def test_a_wandering_face_is_followed_and_stays_inside():
    frames = 500
    boxes = [box(300 + 2.0 * frame) for frame in range(frames)]
    path = crop_path(Followed([Track(list(range(frames)), boxes)]), frames, RATE)
    assert path.following
    assert moves(path, frames).max() < 4
    for frame in range(frames):
        crop = path.at(frame)
        assert abs(crop.x - boxes[frame].centre[0]) < 0.15 * crop.side


def test_each_scene_has_its_own_crop():
    followed = Followed([Track([0, 5, 9], [box(300.0)] * 3), Track([10, 15], [box(900.0)] * 2)])
    path = crop_path(followed, 20, RATE)
    assert [round(path.at(frame).x) for frame in (0, 9, 10, 19, 99)] == [300, 300, 900, 900, 900]


def test_smoothing_keeps_a_steady_place_and_the_length():
    targets = np.tile([100.0, 50.0, 40.0], (7, 1))
    np.testing.assert_allclose(smooth_path(targets, RATE, Steadiness()), targets)


def test_moved_and_constant():
    path = constant_path(Crop(10.0, 20.0, 40.0)).moved(scale=1.5, right=0.1, down=-0.5)
    assert path.at(123) == Crop(14.0, 0.0, 60.0)
    assert not path.following


def test_paths_are_shifted_inside_as_single_crops_are():
    for crop in (Crop(10.0, 90.0, 40.0), Crop(10.0, 50.0, 120.0), Crop(95.0, 50.0, 20.0)):
        assert constant_path(crop).inside(100, 100).at(0) == crop.inside(100, 100)
