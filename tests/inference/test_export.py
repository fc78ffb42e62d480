"""The exported graph gives what the model gives; one export serves all tests, for exporting takes a while."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from synhead.config import ConfigError, preset
from synhead.inference import export
from synhead.inference.engine import EagerEngine
from synhead.inference.engines import EngineOptions, make_engine
from tests.inference.conftest import blobs
from tests.inference.test_fast import varied

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    """A blending one, whose graph takes the picture too; one that does not blend: tests/test_benchmarks.py, engines."""
    return varied(replace(preset("tiny"), blend=True))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export.export_onnx(model, tmp_path_factory.mktemp("onnx") / "tiny.onnx", batch=3)


def test_verified_on_writing(exported, model):
    assert export.input_names(model)[-1] == "picture"
    assert exported.path.is_file()
    assert exported.batch == 3
    assert 0 <= exported.difference <= 1e-3


@pytest.mark.parametrize("count", [1, 7])
def test_the_engine_agrees(exported, model, portrait, count):
    frames = [blobs(seed) for seed in range(1, count + 1)]
    engine = make_engine(model, EngineOptions(name="onnx", graph=exported.path))
    source = engine.observe(portrait)
    driving = engine.keypoints(frames)
    wanted = EagerEngine(model).render(source, driving).astype(int)
    found = engine.render(source, driving).astype(int)
    assert found.shape == (count, 64, 64, 3)
    assert np.abs(found - wanted).max() <= 1


def test_a_wrong_graph_is_not_left_behind(model, tmp_path, monkeypatch, exported):
    monkeypatch.setattr(export, "write_graph", lambda *given: given[1].write_bytes(b""))
    monkeypatch.setattr(export, "open_session", lambda *_: None)
    monkeypatch.setattr(export, "run_session", lambda *_: np.float32(9.0))
    with pytest.raises(ConfigError, match="differs"):
        export.export_onnx(model, tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_graph(model, tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    with pytest.raises(ConfigError, match="no graph that onnxruntime can open; write one with synhead export"):
        make_engine(model, EngineOptions(name="onnx", graph=tmp_path / "no.onnx"))


def test_a_graph_of_other_weights(model, exported):
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(other.parameters()).add_(0.1)
    with pytest.raises(ConfigError, match="not written from these weights"):
        make_engine(other, EngineOptions(name="onnx", graph=exported.path))
