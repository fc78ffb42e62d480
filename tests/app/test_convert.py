"""``synhead convert``, at the tiny size: its exactness at the published one is tested with the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.config import ModelConfig, preset
from synhead.weights import official
from tests.app.conftest import Finished

Run = Callable[..., Finished]


def _tiny_preset(name: str) -> ModelConfig:
    del name
    return preset("tiny")


def test_there_and_back(run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official, "preset", _tiny_preset)
    published, again = tmp_path / "published", tmp_path / "again"
    finished = run("convert", tiny, "--to-official", "-o", published)
    assert (finished.code, finished.err) == (0, "")
    generator, estimator = published / "net_g.pth", published / "net_motion_estimator.pth"
    finished = run("convert", generator, estimator, "-o", again)
    assert finished.code == 0, finished.err
    assert (again / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()


def test_what_is_lost_is_told(run: Run, tiny: Path, tmp_path: Path) -> None:
    finished = run("convert", tiny, "--to-official", "-o", tmp_path)
    assert finished.code == 0
    assert "not the published model" in finished.err
    assert "feature_widths" in finished.err


@pytest.mark.parametrize("given", [("one.pth",), ("a.pth", "b.pth", "c.pth"), ("a", "b", "--to-official")])
def test_wrong_number_of_inputs(run: Run, given: tuple[str, ...], tmp_path: Path) -> None:
    finished = run("convert", *given, "-o", tmp_path / "out")
    assert finished.code == 2
    assert "synhead convert" in finished.err
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_not_there_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    finished = run("convert", tmp_path / "none", "--to-official", "-o", tmp_path / "out" / "deep")
    assert finished.code == 2
    assert not list(tmp_path.iterdir())


def test_missing_file(run: Run, tmp_path: Path) -> None:
    finished = run("convert", tmp_path / "a.pth", tmp_path / "b.pth", "-o", tmp_path / "out")
    assert finished.code == 2
    assert finished.err.startswith("error: no file")
