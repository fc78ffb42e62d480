from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from tests.faces.pictures import slopes, waves

from synhead.faces import crops
from synhead.faces.boxes import Box, SquareCrop, crop_square
from synhead.faces.crops import Crop, centred_crop, extract, lay_out


def test_whole_pixels_are_cut_as_training_clips_are():
    image = waves(60, 50)
    for crop in (SquareCrop(7, 3, 16), SquareCrop(-5, 30, 40)):
        mine = Crop(crop.left + crop.side / 2, crop.top + crop.side / 2, float(crop.side))
        assert mine.rounded() == crop
        for size in (16, 24):
            np.testing.assert_array_equal(extract(image, mine, size), crop_square(image, crop, size))


@pytest.mark.parametrize("tilt", [0.0, 25.0, -90.0])
@pytest.mark.parametrize("side", [30.0, 41.3, 120.0])
def test_extract_samples_where_the_crop_says(tilt, side):
    """On slopes of colour the value at a place is known; the crop's corners may lie outside."""
    image, crop = slopes(200, 160), Crop(90.4, 77.7, side, tilt)
    patch = extract(image, crop, 40).astype(float)
    axis = ((np.arange(40) + 0.5) / 40 - 0.5) * side
    turn = np.deg2rad(tilt)
    x = crop.x + axis[None] * np.cos(turn) - axis[:, None] * np.sin(turn)
    y = crop.y + axis[None] * np.sin(turn) + axis[:, None] * np.cos(turn)
    assert np.abs(patch[..., 0] - (x - 0.5)).max() < 2
    assert np.abs(patch[..., 1] - (y - 0.5)).max() < 2


@pytest.mark.parametrize("crop", [Crop(90.0, 77.0, 60.0), Crop(90.4, 77.7, 41.3), Crop(90.4, 77.7, 41.3, 25.0)])
def test_laying_out_brings_the_picture_back(crop):
    image = slopes(200, 160)
    place = Box(80.0, 70.0, 100.0, 84.0)
    laid = lay_out(extract(image, crop, 48), crop, place)
    assert laid.shape == (14, 20, 3)
    assert np.abs(laid.astype(int) - image[70:84, 80:100]).max() <= 2


def test_laying_out_is_black_outside_a_tilted_crop():
    laid = lay_out(np.full((32, 32), 200, np.uint8), Crop(50.0, 50.0, 40.0, 45.0), Box(20.0, 20.0, 80.0, 80.0))
    assert laid[0, 0] == 0
    assert laid[30, 30] == 200


def test_moves_go_along_the_crops_own_axes():
    crop = Crop(50.0, 50.0, 20.0, 90.0).moved(scale=2.0, down=0.5)
    assert (crop.x, crop.y, crop.side) == pytest.approx((40, 50, 40))
    assert Crop(1.0, 2.0, 4.0).scaled(0.5) == Crop(0.5, 1.0, 2.0)


def test_corners_and_bounds():
    np.testing.assert_allclose(Crop(5.0, 5.0, 10.0).corners(), [(0, 0), (10, 0), (10, 10), (0, 10)])
    box = Crop(0.0, 0.0, 2.0, 45.0).bounds()
    assert (box.left, box.bottom) == pytest.approx((-(2**0.5), 2**0.5))


def test_centre():
    assert centred_crop(101, 50) == Crop(50.0, 25.0, 50.0)


def test_a_crop_is_shifted_inside_if_it_fits():
    assert Crop(10.0, 90.0, 40.0).inside(100, 100) == Crop(20.0, 80.0, 40.0)
    assert Crop(10.0, 50.0, 120.0).inside(100, 200) == Crop(10.0, 60.0, 120.0)


@pytest.mark.parametrize("side", [20_000.0, 1e6])
@pytest.mark.parametrize("tilt", [0.0, 10.0])
def test_a_square_far_wider_than_its_picture_needs_no_room_for_its_edges(side, tilt):
    """One of 100000 pixels took 30 GB, of the web server too."""
    tracemalloc.start()
    try:
        square = extract(waves(300, 200), Crop(150.0, 100.0, side, tilt), 64)
        assert tracemalloc.get_traced_memory()[1] < 1e9
    finally:
        tracemalloc.stop()
    assert square.shape == (64, 64, 3)
    assert square[0, 0].tolist() == pytest.approx(waves(300, 200)[0, 0].tolist(), abs=30)


def test_a_smaller_copy_shows_the_same(monkeypatch):
    picture, crop = waves(300, 200), Crop(120.0, 90.0, 1200.0)
    whole = extract(picture, crop, 64).astype(int)
    monkeypatch.setattr(crops, "LARGEST_PX", 600)
    assert np.abs(extract(picture, crop, 64) - whole).mean() < 2
