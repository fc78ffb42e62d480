from __future__ import annotations

import importlib
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from synhead.faces.analyzer import AnalyzerOptions, FaceError
from synhead.faces.boxes import intersection_over_union
from synhead.faces.mediapipe_backend import find_task_file, open_analyzer, open_detector


@pytest.fixture(scope="module")
def portrait():
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def analyzer():
    mediapipe = pytest.importorskip("mediapipe")
    if not hasattr(mediapipe, "solutions") and find_task_file() is None:
        pytest.skip("no face model here")
    analyzer = open_analyzer()
    yield analyzer
    analyzer.close()


def test_landmarks_of_a_portrait(analyzer, portrait):
    (face,) = analyzer.landmarks(portrait)
    assert face.points_px.shape == (478, 2)
    assert face.depth_px.shape == (478,)
    # the astronaut's face: centre about (224, 110), 100 px wide
    assert face.box.centre == pytest.approx((224, 115), abs=25)
    assert 70 < face.box.width < 140
    left_iris, right_iris = face.points_px[473], face.points_px[468]
    assert left_iris[0] > right_iris[0] + 30
    assert abs(face.pose.yaw) < 35
    assert abs(face.pose.pitch) < 30
    assert abs(face.pose.roll) < 20
    assert "mediapipe" in analyzer.version


def test_roll_follows_the_picture(analyzer, portrait):
    face = portrait[:300, 60:360]
    straight = analyzer.landmarks(face)[0].pose
    # Pillow turns counter-clockwise
    turned = analyzer.landmarks(np.asarray(Image.fromarray(face).rotate(-20)))[0].pose
    mirrored = analyzer.landmarks(np.ascontiguousarray(face[:, ::-1]))[0].pose
    assert turned.roll - straight.roll == pytest.approx(20, abs=4)
    assert mirrored.yaw == pytest.approx(-straight.yaw, abs=5)
    assert mirrored.roll == pytest.approx(-straight.roll, abs=4)


def test_no_face(analyzer):
    assert analyzer.landmarks(np.full((128, 128, 3), 90, np.uint8)) == ()


def test_image_mode_does_not_depend_on_order(analyzer, portrait):
    first = analyzer.landmarks(portrait)[0]
    analyzer.landmarks(np.ascontiguousarray(np.roll(portrait, 40, axis=1)))
    np.testing.assert_array_equal(analyzer.landmarks(portrait)[0].points_px, first.points_px)


def test_video_mode_tracks(portrait):
    pytest.importorskip("mediapipe")
    analyzer = open_analyzer(AnalyzerOptions(mode="video"))
    try:
        shifted = [analyzer.landmarks(np.ascontiguousarray(np.roll(portrait, s, axis=1)))[0] for s in (0, 4, 8, 12)]
    finally:
        analyzer.close()
    steps = np.diff([face.box.centre[0] for face in shifted])
    assert steps == pytest.approx([4, 4, 4], abs=2)


def test_detector_box_covers_the_landmarks(analyzer, portrait):
    detector = open_detector()
    try:
        found = detector.boxes(portrait)
        assert detector.boxes(np.full((128, 128, 3), 90, np.uint8)) == ()
    finally:
        detector.close()
    assert intersection_over_union(found[0].box, analyzer.landmarks(portrait)[0].box) > 0.8
    assert 0.5 <= found[0].score <= 1


def test_nothing_is_written_to_standard_error(portrait, capfd):
    pytest.importorskip("mediapipe")
    analyzer = open_analyzer()
    analyzer.landmarks(portrait)
    analyzer.close()
    assert capfd.readouterr().err == ""


def test_closed_analyzer_says_so(portrait):
    pytest.importorskip("mediapipe")
    analyzer = open_analyzer()
    analyzer.close()
    with pytest.raises(FaceError, match="closed"):
        analyzer.landmarks(portrait)


def test_missing_package_names_the_remedy(monkeypatch):
    def refuse(name: str, *args: object) -> object:
        if name == "mediapipe":
            raise ImportError("No module named 'mediapipe'")
        return original(name, *args)

    original = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(FaceError, match=r"pip install 'synhead\[faces\]'"):
        open_analyzer()


def test_faces_room_does_not_import_mediapipe():
    """The import must stay lazy: the core installs without it."""
    code = "import synhead.faces.mediapipe_backend, sys; sys.exit('mediapipe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bundled_models_missing(monkeypatch):
    monkeypatch.delenv("SYNHEAD_WEIGHTS", raising=False)
    original = importlib.import_module
    bare = types.SimpleNamespace(__version__="1.2.2")
    monkeypatch.setattr(importlib, "import_module", lambda name: bare if name == "mediapipe" else original(name))
    with pytest.raises(FaceError, match=r"face_landmarker\.task"):
        open_analyzer()


def test_task_file_is_found_by_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("SYNHEAD_WEIGHTS", raising=False)
    assert find_task_file() is None
    monkeypatch.setenv("SYNHEAD_WEIGHTS", str(tmp_path))
    assert find_task_file() is None
    model = tmp_path / "face_landmarker.task"
    model.write_bytes(b"not a model")
    assert find_task_file() == model
    monkeypatch.setenv("SYNHEAD_WEIGHTS", str(model))
    assert find_task_file() == model
    monkeypatch.setenv("SYNHEAD_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(FaceError, match="does not exist"):
        find_task_file()


def test_damaged_task_file(tmp_path, portrait):
    pytest.importorskip("mediapipe")
    model = tmp_path / "face_landmarker.task"
    model.write_bytes(b"not a model")
    with pytest.raises(FaceError, match="download it again"):
        open_analyzer(model=model).landmarks(portrait)
    with pytest.raises(FaceError, match="no face model"):
        open_analyzer(model=tmp_path / "other.task")
