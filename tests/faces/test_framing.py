from __future__ import annotations

import pytest
from tests.faces.pictures import RedDetector, painted

from synhead.config import ConfigError, from_json, to_json
from synhead.faces.analyzer import FaceBox, FaceError
from synhead.faces.boxes import Box
from synhead.faces.crops import Crop
from synhead.faces.framing import Framing, frame_photo, frame_video
from synhead.faces.sightings import Sightings

TWO = painted(600, 400, (60, 80, 160, 200), (400, 100, 480, 196))


class Tilted(RedDetector):
    def boxes(self, image):
        return tuple(FaceBox(face.box, face.score, 30.0) for face in super().boxes(image))


def test_the_largest_face_in_whole_pixels():
    framed = frame_photo(TWO, Framing(), RedDetector())
    assert (len(framed.faces), framed.chosen) == (2, (0,))
    (crop,) = framed.crops
    assert crop.x == pytest.approx(110, abs=1)
    assert crop.side == pytest.approx(120 * 1.475 * 1.2, abs=1)
    assert crop.y - crop.side / 2 == int(crop.y - crop.side / 2)


def test_all_faces_have_a_crop_each():
    framed = frame_photo(TWO, Framing(face="all"), RedDetector())
    assert [round(crop.x, -1) for crop in framed.crops] == [110, 440]


def test_scale_and_shift():
    plain = frame_photo(TWO, Framing(), RedDetector()).crops[0]
    (crop,) = frame_photo(TWO, Framing(scale=2.0, right=0.5), RedDetector()).crops
    assert crop.side == pytest.approx(2 * plain.side, abs=1)
    assert crop.x == pytest.approx(plain.x + plain.side / 2, abs=1)


def test_upright_turns_with_the_head():
    level = frame_photo(TWO, Framing(), Tilted()).crops[0]
    (crop,) = frame_photo(TWO, Framing(upright=True), Tilted()).crops
    assert (level.tilt, crop.tilt) == (0, 30)
    assert crop.x > level.x  # the room above a head that is tilted clockwise lies to its right


def test_no_face_names_the_remedy():
    with pytest.raises(FaceError, match="--crop center"):
        frame_photo(painted(300, 200), Framing(), RedDetector())


def test_without_a_detector_the_middle():
    assert frame_photo(TWO, Framing(), None).crops == (Crop(300.0, 200.0, 400.0),)


def test_box():
    framing = Framing(crop="box", box=(100.0, 50.0, 200.0, 250.0))
    assert frame_photo(TWO, framing, None).crops == (Crop(150.0, 150.0, 200.0),)
    with pytest.raises(FaceError, match="outside"):
        frame_photo(TWO, Framing(crop="box", box=(700.0, 0.0, 800.0, 90.0)), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 0.0},
        {"right": 2.0},
        {"crop": "box"},
        {"box": (0.0, 0.0, 1.0, 1.0)},
        {"crop": "box", "box": (5.0, 0.0, 1.0, 1.0)},
        {"crop": "box", "box": (0.0, 0.0, 1.0)},
        {"crop": "box", "box": (float("nan"), 0.0, 1.0, 1.0)},
        {"crop": "box", "box": (0.0, 0.0, float("inf"), 1.0)},
        {"crop": "box", "box": (-1e308, -1e308, 1e308, 1e308)},
        {"right": float("nan")},
        {"down": float("nan")},
    ],
)
def test_wrong_values(wrong):
    with pytest.raises(ConfigError):
        Framing(**wrong)


def test_survives_json():
    framing = Framing(crop="box", box=(1.0, 2.0, 30.0, 40.0), face="0,2", movement="follow")
    assert from_json(Framing, to_json(framing)) == framing


def face(left: float) -> FaceBox:
    return FaceBox(Box(left, 100.0, left + 100, 200.0), 0.9)


def test_video_paths_of_all_faces():
    sightings = Sightings(10, tuple((frame, (face(50.0), face(400.0))) for frame in (0, 5)))
    framed = frame_video(sightings, (640, 360), 25.0, Framing(face="all"))
    assert [round(path.at(3).x) for path in framed.paths] == [100, 450]
    assert framed.found


def test_video_without_a_face_takes_the_middle_and_says_so():
    framed = frame_video(Sightings(3, ((0, ()), (1, ()), (2, ()))), (640, 360), 25.0, Framing())
    assert framed.paths[0].at(0) == Crop(320.0, 180.0, 360.0)
    assert (framed.found, framed.missing) == (False, (0, 1, 2))
