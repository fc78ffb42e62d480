from __future__ import annotations

import numpy as np
import pytest

from synhead.faces.boxes import Box, SquareCrop, bounding_box, crop_square, intersection_over_union, union


def box(*edges: float) -> Box:
    return Box(*(float(edge) for edge in edges))


def test_intersection_over_union():
    square = box(0, 0, 10, 10)
    assert intersection_over_union(square, square) == 1
    assert intersection_over_union(square, box(5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert intersection_over_union(square, box(20, 20, 30, 30)) == 0
    assert intersection_over_union(box(0, 0, 0, 0), box(0, 0, 0, 0)) == 0


def test_union_contains_all():
    assert union([box(0, 5, 3, 6), box(-2, 0, 1, 9)]) == box(-2, 0, 3, 9)


def test_grown_and_between():
    tall = box(0, 0, 10, 20)
    assert tall.grown(left=0.1, top=0.5) == box(-1, -10, 10, 20)
    assert tall.between(box(10, 10, 20, 30), 0.5) == box(5, 5, 15, 25)
    assert tall.between(box(10, 10, 20, 30), 0.0) == tall


def test_bounding_box():
    assert bounding_box(np.array([[1.0, 2.0], [3.0, -4.0]])) == box(1, -4, 3, 2)


def test_crop_at_its_own_size_is_a_slice():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop_square(image, SquareCrop(7, 3, 16), 16), image[3:19, 7:23])


@pytest.mark.parametrize(("left", "top"), [(-5, -5), (40, 30), (-5, 30)])
def test_crop_outside_repeats_the_edge(left, top):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    crop = crop_square(image, SquareCrop(left, top, 16), 16)
    rows = np.clip(np.arange(top, top + 16), 0, 39)
    columns = np.clip(np.arange(left, left + 16), 0, 49)
    np.testing.assert_array_equal(crop, image[rows][:, columns])


@pytest.mark.parametrize("size", [8, 64])
def test_crop_scales(size):
    image = np.full((40, 50, 3), 77, np.uint8)
    crop = crop_square(image, SquareCrop(0, 0, 32), size)
    assert crop.shape == (size, size, 3)
    assert (crop == 77).all()
