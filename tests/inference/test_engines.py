"""Engines are chosen by name, and only by name."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from jaxtyping import TypeCheckError

from synhead.config import ConfigError
from synhead.inference.engine import EagerEngine
from synhead.inference.engines import ENGINES, EngineOptions, make_engine
from synhead.inference.fast import FastEngine
from tests.native import needs_compiler


def test_names_lead_to_engines(model):
    assert type(make_engine(model)) is FastEngine
    assert type(make_engine(model, EngineOptions(name="eager", precision="bf16"))) is EagerEngine
    assert make_engine(model, EngineOptions(precision="bf16")).precision == "bf16"
    assert set(ENGINES) == {"eager", "prepared", "native", "compiled", "onnx"}


@pytest.mark.parametrize(
    "options",
    [
        {"name": "warp drive"},
        {"name": "onnx"},
        {"name": "eager", "graph": Path("model.onnx")},
        {"name": "onnx", "graph": Path("model.onnx"), "precision": "bf16"},
    ],
)
def test_impossible_choices(options):
    with pytest.raises((ConfigError, TypeCheckError)):
        EngineOptions(**options)


@needs_compiler
def test_native_compiles_into_the_cache_folder(model, portrait, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNHEAD_CACHE", str(tmp_path))
    engine = make_engine(model, EngineOptions(name="native"))
    assert isinstance(engine, FastEngine)
    assert len(list(tmp_path.glob("kernels-*.so"))) == 1
    assert engine.precision == "fp32"


def test_native_is_for_cpus(model):
    with pytest.raises(ConfigError, match="--device cpu"):
        make_engine(deepcopy(model).to("meta"), EngineOptions(name="native"))
