from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.faces.pictures import RedDetector, painted

from synhead.faces.boxes import Box
from synhead.faces.locate import locate_faces, look_at, thumbnail
from synhead.faces.mediapipe_backend import open_detector


def test_large_faces_are_found_in_the_whole_picture_from_left_to_right():
    image = painted(600, 400, (400, 100, 500, 220), (50, 80, 170, 240))
    detector = RedDetector(visible=0.1)
    assert [found.box.left for found in locate_faces(image, detector)] == [50, 400]
    assert detector.calls == 1


def test_small_faces_are_found_in_tiles_at_their_place():
    """A face of a fiftieth of the width, seen in a quarter of the shorter side."""
    image = painted(4000, 2000, (3010, 1420, 3090, 1530))
    (found,) = locate_faces(image, RedDetector(visible=0.1))
    assert [found.box.left, found.box.top, found.box.right, found.box.bottom] == pytest.approx(
        [3010, 1420, 3090, 1530], abs=4
    )


def test_a_face_in_several_tiles_is_one():
    image = painted(2000, 1600, (960, 760, 1100, 900))
    assert len(locate_faces(image, RedDetector(visible=0.1))) == 1


class FarsightedDetector(RedDetector):
    """Does not see what fills the picture."""

    def boxes(self, image):
        return tuple(face for face in super().boxes(image) if face.box.width < 0.6 * image.shape[1])


def test_a_face_that_fills_the_picture_is_found_at_its_place():
    (found,) = look_at(painted(100, 120, (10, 5, 90, 110)), FarsightedDetector())
    assert found.box == Box(10.0, 5.0, 90.0, 110.0)


def test_none():
    assert locate_faces(painted(2000, 1600), RedDetector()) == ()


def test_thumbnail():
    small, factor = thumbnail(np.zeros((300, 1280, 3), np.uint8), 640)
    assert (small.shape, factor) == ((150, 640, 3), 2.0)
    image = np.zeros((30, 40, 3), np.uint8)
    assert thumbnail(image)[0] is image


def test_a_small_real_face():
    pytest.importorskip("mediapipe")
    person = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    ground = Image.new("RGB", (2400, 1800), (90, 110, 140))
    ground.paste(person.resize((300, 300)), (1500, 1200))
    detector = open_detector()
    try:
        (found,) = locate_faces(np.asarray(ground), detector)
    finally:
        detector.close()
    # the face's middle in the photograph of 512 x 512 is (225, 120)
    assert found.box.centre == pytest.approx((1500 + 225 * 300 / 512, 1200 + 120 * 300 / 512), abs=8)
    assert 40 < found.box.height < 80
    assert abs(found.tilt) < 10
