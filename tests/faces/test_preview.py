from __future__ import annotations

from tests.faces.pictures import painted

from synhead.faces.analyzer import FaceBox
from synhead.faces.boxes import Box
from synhead.faces.crops import Crop
from synhead.faces.preview import draw_preview


def test_boxes_numbers_and_crops_are_drawn_on_a_copy():
    image = painted(400, 300)
    faces = [FaceBox(Box(40.0, 60.0, 120.0, 160.0), 0.9), FaceBox(Box(250.0, 60.0, 330.0, 160.0), 0.8)]
    drawn = draw_preview(image, faces, [Crop(80.0, 110.0, 150.0)])
    assert (image == 120).all()
    assert drawn[100, 40].tolist() == [255, 196, 0]
    assert drawn[100, 250].tolist() == [255, 196, 0]
    assert drawn[100, 155].tolist() == [0, 224, 96]
    assert drawn[100, 390].tolist() == [120, 120, 120]
    assert (drawn[60:90, 40:70] == (0, 0, 0)).all(axis=-1).any()  # the number's ink
