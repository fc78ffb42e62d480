from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest

from synhead.evaluation import reconstruction
from synhead.evaluation.gauges.mesh import MeshGauge
from synhead.evaluation.reconstruction import reconstruct
from synhead.evaluation.renderers import copy_source
from tests.evaluation.gauges.test_mesh import StubAnalyzer


@pytest.fixture(autouse=True)
def analyzers(monkeypatch):
    """Those opened, of our own kind."""
    opened = []

    def opener():
        opened.append(StubAnalyzer())
        return opened[-1]

    monkeypatch.setattr(reconstruction, "MeshGauge", partial(MeshGauge, opener=opener))
    return opened


def perfect(source, driving):
    return driving


def test_perfect_rendering_has_no_error(make_trial):
    report = reconstruct("perfect", perfect, [make_trial("a", 1), make_trial("b", 2, frames=5)])
    figures = report.figures
    assert (report.method, report.frames, report.faceless, report.detector) == ("perfect", 8, (), "stub 1")
    assert (figures.psnr_db, figures.l1, figures.landmark_distance_px, figures.pose_error_deg) == (100, 0, 0, 0)
    assert figures.ssim == pytest.approx(1)


def test_copying_the_source_is_not_perfect(make_trial):
    figures = reconstruct("copy", copy_source, [make_trial("a", 1)]).figures
    assert figures.psnr_db < 20
    assert figures.landmark_distance_px > 1
    assert figures.mouth_opening_error > 0
    assert figures.eye_opening_error > 0


def test_frames_without_a_face_are_named_and_left_out(make_trial, tmp_path):
    def dark(source, driving):
        frames = driving.copy()
        frames[1] = 0
        return frames

    report = reconstruct("half", dark, [make_trial("a")])
    assert report.faceless == ("a/2",)
    assert report.figures.landmark_distance_px == 0
    nothing = reconstruct("none", lambda _, driving: np.zeros_like(driving), [make_trial("a")])
    assert math.isnan(nothing.figures.landmark_distance_px)
    nothing.write(tmp_path / "report.json")
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["figures"]["landmark_distance_px"] is None
    assert stored["faceless"] == ["a/1", "a/2", "a/3"]


def test_driving_landmarks_are_found_once(make_trial, analyzers, tmp_path):
    def reverse(source, driving):
        return driving[::-1].copy()

    first = reconstruct("x", reverse, [make_trial("a")], cache=tmp_path)
    assert sum(analyzer.calls for analyzer in analyzers) == 6
    again = reconstruct("x", reverse, [make_trial("a")], cache=tmp_path)
    assert sum(analyzer.calls for analyzer in analyzers) == 9
    assert again.figures.landmark_distance_px == first.figures.landmark_distance_px
    assert all(analyzer.closed for analyzer in analyzers)


def test_wrong_renderings_are_refused(make_trial):
    with pytest.raises(ValueError, match="clip a: 2 frames for 3"):
        reconstruct("x", lambda _, driving: driving[:2], [make_trial("a")])
    with pytest.raises(ValueError, match="instead of"):
        reconstruct("x", lambda _, driving: driving[:, :16], [make_trial("a")])
    with pytest.raises(ValueError, match="no clip"):
        reconstruct("x", perfect, [])
