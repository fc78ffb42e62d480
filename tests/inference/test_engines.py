"""Engines are chosen by name, and only by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from synhead.config import ConfigError
from synhead.inference.engine import EagerEngine
from synhead.inference.engines import ENGINES, EngineOptions, default_engine, make_engine
from synhead.inference.fast import FastEngine


def test_names_lead_to_engines(model):
    assert type(make_engine(model)) is FastEngine
    assert type(make_engine(model, EngineOptions(name="eager", precision="bf16"))) is EagerEngine
    assert make_engine(model, EngineOptions(precision="bf16")).precision == "bf16"
    assert set(ENGINES) == {"eager", "prepared", "compiled", "onnx"}


def test_what_is_taken_unless_named():
    assert default_engine(torch.device("cpu")) == "prepared"
    assert default_engine(torch.device("cuda")) == "eager"


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
