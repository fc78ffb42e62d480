from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from synhead.faces.crops import Crop, extract
from synhead.inference.composition import Composition, Layout, Step
from synhead.inference.sources import is_larger, reduced
from synhead.provenance.errors import ProvenanceError
from tests.faces.pictures import waves

SIZE = (200, 160)
CROPS = (Crop(60.0, 80.0, 64.0), Crop(140.0, 80.0, 40.0, 15.0))


@pytest.fixture
def step() -> Step:
    picture = waves(*SIZE)
    originals = tuple(extract(picture, crop, 32) for crop in CROPS)
    return Step(originals, originals, CROPS, picture, originals[0], Fraction(0), Fraction(1, 25))


def painted(step: Step, colour: tuple[int, int, int]) -> Step:
    animated = []
    for square in step.originals:
        square = square.copy()  # noqa: PLW2901
        square[12:20, 12:20] = colour
        animated.append(square)
    return replace(step, animated=tuple(animated))


def test_nothing_of_an_earlier_frame_remains(step):
    composition = Composition(Layout(pasted=True), SIZE)
    first = composition.compose(painted(step, (255, 0, 0))).copy()
    composition.compose(painted(step, (0, 255, 0)))
    again = composition.compose(painted(step, (255, 0, 0)))
    np.testing.assert_array_equal(first, again)
    assert min(first[80, 60, 0], first[80, 140, 0]) > 200


def test_the_source_stays_as_it_was(step):
    before = step.picture.copy()
    Composition(Layout(pasted=True), SIZE).compose(painted(step, (255, 0, 0)))
    np.testing.assert_array_equal(step.picture, before)


def test_a_new_picture_replaces_the_ground(step):
    composition = Composition(Layout(pasted=True), SIZE)
    composition.compose(step)
    other = np.full_like(step.picture, 50)
    squares = tuple(extract(other, crop, 32) for crop in CROPS)
    shown = composition.compose(replace(step, picture=other, animated=squares, originals=squares))
    assert np.abs(shown.astype(int) - 50).max() <= 1


def test_reduced_with_its_crops(step):
    composition = Composition(Layout(pasted=True, max_side=100), (100, 80))
    shown = composition.compose(painted(step, (255, 0, 0)))
    assert shown.shape == (80, 100, 3)
    assert shown[40, 30, 0] > 180


def test_rows(step):
    plain = Composition(Layout(pasted=False), (64, 32)).compose(step)
    side = Composition(Layout(pasted=False, side_by_side=True), (160, 32)).compose(step)
    without_driver = Composition(Layout(pasted=False, side_by_side=True), (128, 32)).compose(
        replace(step, driving=None)
    )
    assert [image.shape for image in (plain, side, without_driver)] == [(32, 64, 3), (32, 160, 3), (32, 128, 3)]


def test_a_label_that_does_not_fit_is_told_before_there_are_pictures():
    with pytest.raises(ProvenanceError, match="too long"):
        Composition(Layout(pasted=False, label="words " * 40), (64, 32))


def test_what_is_larger_than_its_crop():
    assert is_larger(200, 100, Crop(50.0, 50.0, 100.0))
    assert not is_larger(100, 104, Crop(50.0, 52.0, 100.0))


def test_reduced_is_a_copy():
    image = waves(40, 30)
    assert reduced(image, None) is not image
    assert reduced(image, 20).shape == (15, 20, 3)
    assert reduced(image, 400).shape == image.shape
