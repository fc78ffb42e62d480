"""``synhead info`` and ``synhead doctor``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.app import doctor
from synhead.app.models import untrained
from synhead.inference.engines import ENGINES, PRECISIONS
from tests.app.conftest import Finished

Run = Callable[..., Finished]


def test_info_of_a_preset(run: Run) -> None:
    finished = run("info", "--preset", "tiny")
    assert finished.code == 0, finished.err
    assert "UNTRAINED" in finished.out
    assert f"{sum(p.numel() for p in untrained('tiny').parameters()):,}" in finished.out
    assert "GMAC" in finished.out
    for option in (*ENGINES, *PRECISIONS):
        assert f" {option}: " in finished.out


def test_info_as_json(run: Run, tiny: Path) -> None:
    facts = json.loads(run("info", tiny, "--json").out)
    assert facts["trained"]
    assert facts["config"]["name"] == "tiny"
    assert set(facts["engines"]) == set(ENGINES)
    assert facts["gmac"]["driving_frame"] > facts["gmac"]["encoder"] > 0
    assert set(facts["parameters"]) >= {"keypoint_detector", "coarse_motion", "encoder", "decoder"}


def test_doctor(run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNHEAD_CHECKPOINT", str(tiny))
    finished = run("doctor")
    assert finished.code == 0, finished.out + finished.err
    for topic in ("python", "torch", "runs on", "h264", "hevc", "av1", "aac", "mediapipe", "weights", "timing"):
        assert topic in finished.out


def test_doctor_reports_what_is_broken(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNHEAD_CHECKPOINT", str(tmp_path))
    monkeypatch.setattr(doctor, "TIMED_FRAMES", 1)
    finished = run("doctor")
    assert finished.code == 1
    assert "weights" in finished.out
    assert "broken" in finished.out


def test_doctor_tells_why_a_gpu_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr("synhead.geometry.triton_there.has_triton", lambda found=there: found)
        found = doctor._kernels()
        assert (found.state == "slow") is not there
        assert ("gcc" in found.remedy) is not there


@pytest.mark.parametrize(
    ("taken", "measured", "state"), [("native", True, "ok"), ("prepared", True, "slow"), ("prepared", False, "ok")]
)
def test_doctor_tells_which_engine_a_cpu_takes(
    monkeypatch: pytest.MonkeyPatch, *, taken: str, measured: bool, state: str
) -> None:
    monkeypatch.setattr("synhead.inference.engines.native_obstacle", lambda: None if taken == "native" else "no AVX")
    monkeypatch.setattr("synhead.inference.engines.native_measured", lambda: measured)
    found = doctor._engine()
    assert (found.topic, found.state) == ("engine", state)
    assert found.fact.startswith(taken)
    assert found.remedy == ("no AVX" if state == "slow" else "")
