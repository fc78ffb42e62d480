"""Twelve awkward inputs through the program: real detection, small pictures, an engine that shifts squares."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from synhead.app import animate as command
from synhead.data.video import read_frames
from tests.app.awkward import CASES, Case, Maker
from tests.app.conftest import Finished
from tests.data.video_factory import NTSC, video_times
from tests.inference.engine_double import ShiftEngine

FRAMES = 6
SCALE = 0.4

pytest.importorskip("mediapipe")
pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("awkward"), scale=SCALE, frames=FRAMES)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    load = command.load_animator

    def load_double(*given: object, **named: object) -> object:
        animator, loaded = load(*given, **named)
        animator.engine = ShiftEngine(64)
        return animator, loaded

    monkeypatch.setattr(command, "load_animator", load_double)


def animated(run: Callable[..., Finished], case: Case, out: Path) -> dict[str, object]:
    options = (*case.options, "--reference", 0, "--max-side", 640, "--preset", "tiny", "--json")
    finished = run("animate", case.source, case.driving, "-o", out, *options)
    assert finished.code == 0, finished.err
    report: dict[str, object] = json.loads(finished.out)
    return report


@pytest.mark.parametrize("name", CASES)
def test_awkward_input(run: Callable[..., Finished], make: Maker, tmp_path: Path, name: str) -> None:
    case = CASES[name](make)
    report = animated(run, case, tmp_path / "out.mp4")
    assert report["frames"] == FRAMES
    assert report["pasted"]
    assert report["faceless"] == []
    assert len(report["source_crops"]) == (2 if name == "two_faces" else 1)
    assert len(list(read_frames(tmp_path / "out.mp4"))) == FRAMES
    if name == "variable_rate":
        assert video_times(tmp_path / "out.mp4") == [Fraction(t, 90000) for t in (0, 3000, 6003, 7503, 16503, 19503)]
    if name == "ntsc_with_sound":
        assert (report["rate"], report["audio"]) == (str(NTSC), "copied")
    if name in ("phone_rotation", "vertical"):
        crop = report["driving_crop"]
        assert crop["x"] < 0.7 * 720 * SCALE * (1.5 if name == "vertical" else 1)
        assert crop["y"] < 0.5 * 1280 * SCALE * (1.5 if name == "vertical" else 1)
    if name == "small_face":
        (crop,) = report["source_crops"]
        assert crop["side"] < 0.06 * 4000 * SCALE
