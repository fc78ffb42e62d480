"""Identity cosine by hand; and that insightface is given local files."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from synhead.evaluation.gauges import arcface
from synhead.evaluation.gauges.arcface import ArcFaceGauge, cosine, open_arcface
from synhead.evaluation.weight_files import GLINTR100, SCRFD, UnavailableError, WeightFolder

CPU = torch.device("cpu")


def embedding_of(picture):
    return picture.reshape(-1)[:512].astype(np.float32) if picture.any() else None


def test_cosine_by_hand():
    assert cosine(np.array([3.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx((1 / np.sqrt(2),))


def test_perfect_missing_and_across_identities(make_trial):
    gauge = ArcFaceGauge(embedding_of)
    trial, cross = make_trial(), make_trial(cross=True)
    assert gauge.measure(trial, trial.driving).values["identity"] == pytest.approx([1, 1, 1])
    copied = np.repeat(cross.source[None], 3, axis=0)
    assert gauge.measure(cross, copied).values["identity"] == pytest.approx([1, 1, 1])
    assert max(gauge.measure(cross, cross.driving).values["identity"]) < 0.95
    copied[2] = 0
    readings = gauge.measure(cross, copied)
    assert readings.values["identity"][2] is None
    assert readings.skips[0].reason == "no face in the result"


def test_the_library_gets_our_files_and_blue_first(tmp_path, monkeypatch, make_trial):
    loaded = []

    def get_model(path, providers):
        loaded.append(path)
        return SimpleNamespace(
            prepare=lambda *_, **__: None,
            detect=lambda _: (np.array([[0, 0, 9, 9, 0.9]] * 2), np.zeros((2, 5, 2))),
            get=lambda bgr, _: bgr[0, 0].astype(np.float32),
        )

    zoo, common = ModuleType("insightface.model_zoo"), ModuleType("insightface.app.common")
    zoo.get_model, common.Face = get_model, SimpleNamespace
    for name, module in {"insightface.model_zoo": zoo, "insightface.app.common": common}.items():
        monkeypatch.setitem(sys.modules, name, module)
    for file in (SCRFD, GLINTR100):
        (tmp_path / file.name).write_bytes(b"onnx")
    monkeypatch.setattr(arcface, "SCRFD", replace(SCRFD, sha256=""))
    monkeypatch.setattr(arcface, "GLINTR100", replace(GLINTR100, sha256=""))
    gauge = open_arcface(WeightFolder(tmp_path), CPU)
    assert loaded == [str(tmp_path / SCRFD.name), str(tmp_path / GLINTR100.name)]
    trial = make_trial()
    assert gauge._embedder(trial.source).tolist() == trial.source[0, 0, ::-1].tolist()


def test_missing_files_and_library_are_named(tmp_path, monkeypatch):
    with pytest.raises(UnavailableError, match=SCRFD.sha256):
        open_arcface(WeightFolder(tmp_path), CPU)
    for file in (SCRFD, GLINTR100):
        (tmp_path / file.name).write_bytes(b"onnx")
    monkeypatch.setattr(arcface, "SCRFD", replace(SCRFD, sha256=""))
    monkeypatch.setattr(arcface, "GLINTR100", replace(GLINTR100, sha256=""))
    monkeypatch.setitem(sys.modules, "insightface.model_zoo", None)
    with pytest.raises(UnavailableError, match="pip install insightface"):
        open_arcface(WeightFolder(tmp_path), CPU)
