"""The stand-ins with an analyzer of our own; openings and distances are tested with the face metrics."""

from __future__ import annotations

import numpy as np
import pytest

from synhead.evaluation.gauges.mesh import MeshGauge, open_mesh
from synhead.evaluation.weight_files import UnavailableError, WeightFolder
from synhead.faces.analyzer import FaceError, FaceLandmarks
from synhead.faces.boxes import bounding_box
from synhead.faces.pose import HeadPose


class StubAnalyzer:
    """Landmarks made of the picture's pixels; no face in black pictures."""

    version = "stub 1"
    pose = HeadPose(1.0, 2.0, 3.0)

    def __init__(self):
        self.calls = 0
        self.closed = False

    def landmarks(self, image):
        self.calls += 1
        points = image[:, :, 0].astype(np.float32).ravel()[: 478 * 2].reshape(478, 2)
        return (FaceLandmarks(points, points[:, 0], bounding_box(points), 1.0, self.pose),) if image.any() else ()

    def close(self):
        self.closed = True


@pytest.fixture
def opened():
    analyzers = []

    def opener():
        analyzers.append(StubAnalyzer())
        return analyzers[-1]

    return analyzers, opener


def test_perfect_and_equal_frames_are_analysed_once(opened, make_trial):
    analyzers, opener = opened
    gauge = MeshGauge(workers=2, opener=opener)
    trial = make_trial(frames=3)
    assert set(gauge.measure(trial, trial.driving).values.values()) == {(0, 0, 0)}
    copied = np.repeat(trial.source[None], 3, axis=0)
    values = gauge.measure(trial, copied).values
    assert min(values["akd.mediapipe"]) > 1
    assert values["pose.mediapipe"] == (0, 0, 0)
    assert sum(analyzer.calls for analyzer in analyzers) == 3 + 3 + 1
    gauge.close()
    assert [analyzer.closed for analyzer in analyzers] == [True, True]


def test_no_face_and_no_pose_are_told(opened, make_trial, monkeypatch):
    monkeypatch.setattr(StubAnalyzer, "pose", None)
    trial = make_trial(frames=2)
    generated = trial.driving.copy()
    generated[0] = 0
    readings = MeshGauge(workers=1, opener=opened[1]).measure(trial, generated)
    assert readings.values["akd.mediapipe"] == (None, 0)
    assert readings.values["pose.mediapipe"] == (None, None)
    assert [(skip.frame, skip.metrics[-1], skip.reason) for skip in readings.skips] == [
        (0, "pose.mediapipe", "no face in the result"),
        (1, "pose.mediapipe", "the detector gave no value"),
    ]


def test_opening_without_mediapipe_names_it():
    def nothing():
        raise FaceError("faces need mediapipe")

    with pytest.raises(UnavailableError, match="faces need mediapipe"):
        open_mesh(WeightFolder(), 1, nothing)


def test_bundled_models_are_hashed():
    pytest.importorskip("mediapipe")
    weights = WeightFolder()
    open_mesh(weights, 1).close()
    assert weights.used
    assert all(len(digest) == 64 for digest in weights.used.values())
