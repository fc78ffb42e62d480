"""AKD by hand with a detector of our own; and that face-alignment is given local files and never downloads."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from synhead.evaluation.gauges import fan
from synhead.evaluation.gauges.fan import FanGauge, keypoint_distances, open_fan
from synhead.evaluation.weight_files import FAN, S3FD, UnavailableError, WeightFolder

CPU = torch.device("cpu")


def points_of(picture):
    """68 points read off the picture's pixels; no face in black pictures."""
    return picture[:, :, :2].reshape(-1, 2)[:68].astype(np.float32) if picture.any() else None


def test_both_distances_by_hand():
    first = np.zeros((68, 2))
    second = np.tile([3.0, 4.0], (68, 1))
    assert keypoint_distances(first, second) == pytest.approx((3.5, 5.0))


def test_perfect_and_shifted(make_trial):
    gauge = FanGauge(points_of)
    trial = make_trial()
    perfect = gauge.measure(trial, trial.driving)
    assert perfect.values == {"akd.published": (0, 0, 0), "akd.standard": (0, 0, 0)}
    generated = trial.driving[::-1].copy()
    difference = points_of(generated[0]).astype(float) - points_of(trial.driving[0])
    values = gauge.measure(trial, generated).values
    assert values["akd.published"][0] == pytest.approx(np.abs(difference).mean(), abs=1e-4)
    assert values["akd.standard"][0] == pytest.approx(np.hypot(*difference.T).mean(), abs=1e-4)


def test_frames_without_a_face_are_skipped_and_told(make_trial):
    trial = make_trial()
    generated = trial.driving.copy()
    generated[1] = 0
    readings = FanGauge(points_of).measure(trial, generated)
    assert readings.values["akd.published"] == (0, None, 0)
    assert [(skip.frame, skip.metrics, skip.reason) for skip in readings.skips] == [
        (1, ("akd.published", "akd.standard"), "no face in the result")
    ]


@pytest.fixture
def library(monkeypatch):
    """A face_alignment of the shape of version 1.5, which records how it is built."""
    built = {}

    class FaceAlignment:
        def __init__(self, landmarks_type, **options):
            built.update(options, landmarks_type=landmarks_type)
            self.face_alignment_net = self._load_native("2DFAN-4", 4, options["device"], torch.float32)

        def _load_native(self, *_):
            raise AssertionError("would download")

        def get_landmarks_from_image(self, picture):
            found = points_of(picture)
            return None if found is None else [found, found + 100]

    top, models = ModuleType("face_alignment"), ModuleType("face_alignment.models")
    top.FaceAlignment, top.LandmarksType = FaceAlignment, SimpleNamespace(TWO_D=1)
    models.FAN = lambda size: nn.Linear(size, 1)
    monkeypatch.setitem(sys.modules, "face_alignment", top)
    monkeypatch.setitem(sys.modules, "face_alignment.models", models)
    return SimpleNamespace(built=built, top=top)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    torch.save(nn.Linear(4, 1).state_dict(), tmp_path / FAN.name)
    torch.save({}, tmp_path / S3FD.name)
    monkeypatch.setattr(fan, "FAN", replace(FAN, sha256=""))
    monkeypatch.setattr(fan, "S3FD", replace(S3FD, sha256=""))
    return WeightFolder(tmp_path)


def test_the_library_gets_our_files(library, weights, make_trial):
    gauge = open_fan(weights, CPU)
    assert library.built["face_detector_kwargs"] == {"path_to_detector": str(weights.folder / S3FD.name)}
    assert (library.built["flip_input"], library.built["compile"]) == (False, False)
    trial = make_trial()
    assert gauge.measure(trial, trial.driving).values["akd.published"] == (0, 0, 0)


def test_an_older_library_is_refused(library, weights):
    del library.top.FaceAlignment._load_native
    with pytest.raises(UnavailableError, match=r"face-alignment 1\.5"):
        open_fan(weights, CPU)


def test_missing_files_are_named_with_their_hash(tmp_path):
    with pytest.raises(UnavailableError) as missing:
        open_fan(WeightFolder(tmp_path), CPU)
    assert all(text in str(missing.value) for text in (FAN.name, FAN.sha256, S3FD.name, S3FD.sha256))
