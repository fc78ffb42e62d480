from __future__ import annotations

import pytest

from synhead.faces.analyzer import FaceBox, FaceError
from synhead.faces.boxes import Box
from synhead.faces.selection import FaceChoice, left_to_right


def face(left: float, side: float) -> FaceBox:
    return FaceBox(Box(float(left), 0.0, float(left + side), float(side)), 0.9)


FACES = left_to_right([face(300, 50), face(0, 20), face(100, 80)])


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("largest", (1,)), ("Leftmost", (0,)), ("all", (0, 1, 2)), ("2", (2,)), ("2,0,2", (2, 0))],
)
def test_choices(text, chosen):
    assert FaceChoice.parse(text).of(FACES) == chosen


def test_faces_are_numbered_from_the_left():
    assert [found.box.left for found in FACES] == [0, 100, 300]


def test_no_faces_no_choice():
    assert FaceChoice.parse("all").of(()) == ()


@pytest.mark.parametrize("text", ["best", "", "-1", "1,x"])
def test_not_understood(text):
    with pytest.raises(FaceError, match="all, largest, leftmost, or numbers"):
        FaceChoice.parse(text)


def test_index_that_is_not_there():
    with pytest.raises(FaceError, match=r"no face 3; choose one from 0 \(leftmost\) to 2"):
        FaceChoice.parse("3").of(FACES)
