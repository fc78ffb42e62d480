"""Engines are chosen by name; without one, the fastest that can be had."""

from __future__ import annotations

import ctypes
import platform
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from synhead.config import ConfigError
from synhead.inference import engines
from synhead.inference.engine import EagerEngine
from synhead.inference.engines import ENGINES, EngineOptions, engine_for, make_engine, native_obstacle
from synhead.inference.fast import FastEngine
from synhead.nn.native import load_kernels
from tests.native import needs_compiler

CPU, GPU = torch.device("cpu"), torch.device("cuda")


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


@pytest.fixture
def measured(monkeypatch):
    """As on a machine on which the native engine was measured."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.fixture
def had(kernels, measured, monkeypatch):
    """And its kernels are compiled already, with wide vectors."""
    wide = replace(kernels, lanes=8)
    monkeypatch.setattr(engines, "_kernels", lambda _: wide)
    return wide


def test_auto_is_native_where_its_kernels_can_be_had(had):
    assert engine_for(CPU, "fp32") == "native"
    assert [engine_for(*asked) for asked in ((CPU, "bf16"), (GPU, "fp32"), (GPU, "bf16"))] == ["prepared"] * 3


@pytest.mark.parametrize(("fact", "value"), [("system", "Darwin"), ("system", "Windows"), ("machine", "aarch64")])
def test_auto_is_prepared_where_native_was_not_measured(had, monkeypatch, fact, value):
    monkeypatch.setattr(platform, fact, lambda: value)
    assert engine_for(CPU, "fp32") == "prepared"


def test_auto_is_prepared_with_narrow_vectors(had, monkeypatch):
    assert native_obstacle() is None
    monkeypatch.setattr(engines, "_kernels", lambda _: replace(had, lanes=4))
    assert engine_for(CPU, "fp32") == "prepared"
    assert "no AVX" in native_obstacle()


def test_auto_is_prepared_where_kernels_would_run_on_one_thread_of_many(had, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())  # another OpenMP than GNU's
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert engine_for(CPU, "fp32") == "prepared"
    assert "OpenMP here is not GNU's" in native_obstacle()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert engine_for(CPU, "fp32") == "native"


def test_auto_is_prepared_without_a_compiler(measured, tmp_path, monkeypatch):
    load_kernels.cache_clear()
    monkeypatch.setenv("SYNHEAD_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert engine_for(CPU, "fp32") == "prepared"
    assert "install gcc or clang" in native_obstacle()


@needs_compiler
def test_auto_is_prepared_where_kernels_cannot_be_kept(measured, tmp_path, monkeypatch):
    load_kernels.cache_clear()
    taken = tmp_path / "file"
    taken.touch()
    monkeypatch.setenv("SYNHEAD_CACHE", str(taken))
    assert engine_for(CPU, "fp32") == "prepared"
    assert "in SYNHEAD_CACHE" in native_obstacle()


def test_auto_is_prepared_without_a_home_folder(measured, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("SYNHEAD_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert engine_for(CPU, "fp32") == "prepared"
    assert "in SYNHEAD_CACHE" in native_obstacle()
