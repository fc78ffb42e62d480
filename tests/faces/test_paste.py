from __future__ import annotations

import numpy as np
import pytest
from tests.faces.pictures import waves

from synhead.faces.crops import Crop, extract
from synhead.faces.paste import covered, match_colours, paste, seam_mask

SIZE = 256
TINT = np.array([14, -9, 12])


def smooth_background(width: int = 400, height: int = 300) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([80 + x / 5, 120 + y / 6, 200 - x / 5], axis=-1).astype(np.uint8)


def rendered(original: np.ndarray, shift: tuple[int, int] = (6, -8)) -> np.ndarray:
    """What a model might return: shifted as a whole, and of other colours."""
    return (np.roll(original, shift, (0, 1)).astype(int) + TINT).clip(0, 255).astype(np.uint8)


def seam_step(picture: np.ndarray, before: np.ndarray, crop: Crop) -> float:
    """Mean step of colour across the crop's border, less that of the untouched picture."""
    change = picture.astype(float) - before
    whole = crop.rounded()
    left, top, side = whole.left, whole.top, whole.side
    rows, columns = slice(top, top + side), slice(left, left + side)
    pairs = [
        (change[rows, left], change[rows, left - 1]),
        (change[rows, left + side - 1], change[rows, left + side]),
        (change[top, columns], change[top - 1, columns]),
        (change[top + side - 1, columns], change[top + side, columns]),
    ]
    return max(float(np.abs(inside.mean(0) - outside.mean(0)).max()) for inside, outside in pairs)


@pytest.mark.parametrize("side", [120.0, 201.0])
def test_seam_on_a_smooth_background(side):
    """Done when: the mean step across the border is under two levels."""
    before, crop = smooth_background(), Crop(200.5, 150.5, side)
    original, picture = extract(before, crop, SIZE), before.copy()
    paste(picture, rendered(original), original, crop)
    assert seam_step(picture, before, crop) < 2
    # nor is there a halo where the square fades, nor a tint within
    assert np.abs(picture.astype(float) - before).max() < 8
    assert np.abs((picture.astype(float) - before)[110:190, 160:240].mean((0, 1))).max() < 2


def test_without_matching_and_fading_the_seam_would_show():
    before, crop = smooth_background(), Crop(200.5, 150.5, 121.0)
    picture = before.copy()
    whole = crop.rounded()
    square = extract(before, crop, whole.side)
    picture[whole.top : whole.top + whole.side, whole.left : whole.left + whole.side] = rendered(square)
    assert seam_step(picture, before, crop) > 5


def test_tilted():
    before, crop = smooth_background(), Crop(200.0, 150.0, 140.0, 20.0)
    original, picture = extract(before, crop, SIZE), before.copy()
    paste(picture, rendered(original), original, crop)
    assert np.abs(picture.astype(float) - before).max() < 9


def test_the_same_square_changes_next_to_nothing():
    before, crop = waves(200, 160), Crop(100.0, 80.0, 96.0)
    original, picture = extract(before, crop, 96), before.copy()
    paste(picture, original, original, crop)
    assert np.abs(picture.astype(int) - before).max() <= 1


def test_what_is_in_the_middle_is_shown_and_what_is_outside_stays():
    before, crop = smooth_background(), Crop(200.0, 150.0, 140.0)
    original, picture = extract(before, crop, SIZE), before.copy()
    animated = original.copy()
    animated[118:138, 118:138] = (255, 0, 255)
    paste(picture, animated, original, crop)
    assert picture[150, 200].tolist() == pytest.approx([255, 0, 255], abs=8)
    outside = np.ones(before.shape[:2], bool)
    outside[covered(crop, 400, 300)] = False
    np.testing.assert_array_equal(picture[outside], before[outside])


@pytest.mark.parametrize("centre", [(-500.0, 0.0), (0.0, 0.0), (399.0, 299.0)])
def test_crops_that_reach_outside(centre):
    before, crop = smooth_background(), Crop(*centre, 120.0)
    original, picture = extract(before, crop, SIZE), before.copy()
    paste(picture, rendered(original, (0, 0)), original, crop)
    assert np.abs(picture.astype(int) - before).max() < 30


def test_a_side_at_the_pictures_edge_does_not_fade():
    mask = seam_mask(64, (0.0, 1.0, 1.0, 1.0))
    assert mask[32, 0] == 255
    assert mask[32, -1] < 20
    assert mask[0, 32] < 20


def test_mask_is_full_where_a_face_is_and_fades_all_around():
    mask = seam_mask(64, (1.0, 1.0, 1.0, 1.0))
    assert mask[12:54, 16:48].min() == 255
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 20
    assert mask[8, 8] < mask[8, 32]  # corners fade wider


def test_a_tint_is_removed_and_a_moved_part_is_not_taken_for_one():
    original = np.full((64, 64, 3), 120, np.uint8)
    animated = (original + np.array([20, 0, 0])).astype(np.uint8)
    animated[40:, :12] = (10, 10, 10)  # a shoulder that came in
    mask = seam_mask(64, (1.0, 1.0, 1.0, 1.0))
    matched = match_colours(animated, original, mask).astype(int)
    assert np.abs(matched[10:30, 20:50] - 120).max() <= 3
    assert matched[60, 4].max() < 25
