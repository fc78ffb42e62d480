from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from synhead.config import preset
from synhead.evaluation import reconstruction
from synhead.evaluation.contact_sheet import contact_sheet, write_contact_sheet
from synhead.evaluation.landmark_cache import LandmarkCache
from synhead.evaluation.reconstruction import reconstruct, render_trials, score_trials
from synhead.evaluation.renderers import CoarseWarpRenderer, ModelRenderer, copy_source
from synhead.evaluation.trials import Trial, cross_identity_trials, driving_indices
from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.boxes import bounding_box
from synhead.model.talking_head import TalkingHead


def trial(name: str, seed: int = 0, size: int = 64, frames: int = 3) -> Trial:
    pictures = np.random.default_rng(seed).integers(1, 256, (frames + 1, size, size, 3), dtype=np.uint8)
    return Trial(name, pictures[0], pictures[1:], tuple(range(1, frames + 1)))


class StubAnalyzer:
    """Landmarks made of the picture's pixels; no face in black pictures."""

    version = "stub 1"
    calls = 0

    def landmarks(self, image):
        StubAnalyzer.calls += 1
        points = image[:, :, 0].astype(np.float32).ravel()[: 478 * 2].reshape(478, 2)
        return (FaceLandmarks(points, points[:, 0], bounding_box(points), 1.0),) if image.any() else ()

    def close(self):
        pass


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    StubAnalyzer.calls = 0
    real = reconstruction.largest_faces
    monkeypatch.setattr(reconstruction, "open_analyzer", StubAnalyzer)
    monkeypatch.setattr(
        reconstruction, "largest_faces", lambda groups, workers: real(groups, workers=workers, opener=StubAnalyzer)
    )


def test_driving_indices():
    assert driving_indices(100) == (1, 11, 22, 33, 44, 55, 66, 77, 88, 99)
    assert driving_indices(4) == (1, 2, 3)
    assert driving_indices(2) == (1,)


def test_perfect_rendering_has_no_error():
    trials = [trial("a", 1), trial("b", 2, frames=5)]
    report = score_trials("perfect", trials, {t.name: t.driving for t in trials})
    figures = report.figures
    assert (report.frames, report.faceless, report.detector) == (8, (), "stub 1")
    assert (figures.psnr_db, figures.l1, figures.landmark_distance_px) == (100, 0, 0)
    assert figures.ssim == pytest.approx(1)


def test_mean_is_over_frames_and_clips_are_listed():
    trials = [trial("a", 1, frames=1), trial("b", 2, frames=3)]
    report = reconstruct("copy", copy_source, trials)
    a, b = report.clips
    assert (a.clip, a.frames, b.frames) == ("a", 1, 3)
    assert report.figures.l1 == pytest.approx((a.figures.l1 + 3 * b.figures.l1) / 4)


def test_frames_without_a_face_are_named_and_left_out(tmp_path):
    one = trial("a")
    generated = one.driving.copy()
    generated[1] = 0
    report = score_trials("half", [one], {"a": generated})
    assert report.faceless == ("a/2",)
    assert report.figures.landmark_distance_px == 0
    assert report.figures.psnr_db < 100
    nothing = score_trials("none", [one], {"a": np.zeros_like(generated)})
    assert math.isnan(nothing.figures.landmark_distance_px)
    nothing.write(tmp_path / "report.json")
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["figures"]["landmark_distance_px"] is None
    assert stored["faceless"] == ["a/1", "a/2", "a/3"]


def test_driving_landmarks_are_found_once(tmp_path):
    one = trial("a")
    first = score_trials("x", [one], {"a": one.driving[::-1].copy()}, cache=tmp_path)
    assert StubAnalyzer.calls == 6
    again = score_trials("x", [one], {"a": one.driving[::-1].copy()}, cache=tmp_path)
    assert StubAnalyzer.calls == 9
    assert again.figures.landmark_distance_px == first.figures.landmark_distance_px


def test_damaged_cache_is_found_again(tmp_path):
    frames = trial("a").driving
    cache = LandmarkCache(tmp_path, "v")
    assert cache.get(frames) is None
    found = StubAnalyzer().landmarks(frames[0])[0]
    cache.put(frames, (None, found, None))
    kept = cache.get(frames)
    assert kept is not None
    assert (kept[0], kept[2]) == (None, None)
    np.testing.assert_array_equal(kept[1].points_px, found.points_px)
    assert LandmarkCache(tmp_path, "w").get(frames) is None
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    assert cache.get(frames) is None


def test_wrong_renderings_are_refused():
    one = trial("a")
    with pytest.raises(ValueError, match="no rendered frames of clip a"):
        score_trials("x", [one], {})
    with pytest.raises(ValueError, match="expected"):
        score_trials("x", [one], {"a": one.driving[:2]})
    with pytest.raises(ValueError, match="no clip"):
        score_trials("x", [], {})


def test_renderers_keep_shape_and_range():
    torch.manual_seed(0)
    model = TalkingHead(preset("tiny")).eval()
    one = trial("a", frames=5)
    for renderer in (ModelRenderer(model, batch=2), CoarseWarpRenderer(model, batch=2)):
        pictures = renderer(one.source, one.driving)
        assert pictures.shape == one.driving.shape
        assert pictures.dtype == np.uint8
        np.testing.assert_allclose(pictures[4:], renderer(one.source, one.driving[4:]), atol=1)


def test_contact_sheet(tmp_path):
    trials = [trial("a", 1), trial("b", 2)]
    sheet = contact_sheet(trials, {"copy": render_trials(copy_source, trials)}, tile=32, examples=2)
    assert sheet.size == (5 * 34, 14 + 2 * 46)
    write_contact_sheet(sheet, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()


def test_cross_identity_pairs_are_fixed_and_of_two_clips():
    trials = [trial(name, seed) for seed, name in enumerate("abcdefgh")]
    pairs = cross_identity_trials(trials, pairs=3)
    assert [pair.name for pair in pairs] == [pair.name for pair in cross_identity_trials(trials, pairs=3)]
    assert len(pairs) == 3
    assert all(pair.name[0] != pair.name[2] for pair in pairs)
    assert cross_identity_trials(trials[:1]) == ()
