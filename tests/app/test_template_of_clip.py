"""A clip and the template recorded from it give the same pictures, with nothing said of the reference frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synhead.inference.template_file import read_template
from tests.app.awkward import CASES, Case, Maker, astronaut, placed, rendered
from tests.app.conftest import Finished
from tests.data.video_factory import write_clip

FRAMES = 8

pytest.importorskip("mediapipe")
pytest.importorskip("skimage")

Run = Callable[..., Finished]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("driven"), scale=0.4, frames=FRAMES)


@pytest.fixture(scope="module")
def tilted(make: Maker) -> Path:
    """The head leans as the driver's does later on, so that the best frame is not the first."""
    return make.photo("tilted", astronaut().rotate(-8, Image.Resampling.BICUBIC, center=(224, 110)))


def record(run: Run, driving: Path, out: Path, *options: str) -> dict[str, Any]:
    finished = run("record", driving, "-o", out, "--preset", "tiny", "--json", *options)
    assert finished.code == 0, finished.err
    return dict(json.loads(finished.out))


def animate(run: Run, source: Path, driving: Path, out: Path, *options: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    finished = run("animate", source, driving, "-o", out, "--preset", "tiny", "--json", *options)
    assert finished.code == 0, finished.err
    return json.loads(finished.out), [np.asarray(Image.open(path)) for path in sorted(out.glob("*.png"))]


def test_a_photo(run: Run, make: Maker, tilted: Path, tmp_path: Path) -> None:
    """Other options are compared frame by frame in tests/inference/test_recording.py."""
    same(run, Case(tilted, make.driver()), tmp_path)


def test_several_faces(run: Run, make: Maker, tmp_path: Path) -> None:
    same(run, CASES["two_faces"](make), tmp_path)


def test_a_source_video(run: Run, make: Maker, tmp_path: Path) -> None:
    size = make.size(1080, 1920)
    backwards = [placed(frame, size) for frame in reversed(rendered(FRAMES))]
    source = write_clip(tmp_path / "source.mp4", FRAMES, size=size, pictures=backwards)
    same(run, Case(source, make.driver()), tmp_path)


def same(run: Run, case: Case, folder: Path) -> None:
    """Pictures and report of both runs, and that the pictures move."""
    template = case.driving.with_suffix(".safetensors")
    if not template.exists():  # all cases have one driver
        stored = record(run, case.driving, template)
        assert (stored["frames"], stored["face_shapes"]) == (FRAMES, FRAMES)
        assert 2000 < stored["bytes_per_frame"] < 4000
    wanted, pictures = animate(run, case.source, case.driving, folder / "clip", *case.options)
    found, repeated = animate(run, case.source, template, folder / "template", *case.options)
    assert len(pictures) == FRAMES
    assert np.std(pictures, axis=0).max() > 1, "the pictures differ, or this test shows nothing"
    np.testing.assert_array_equal(repeated, pictures)
    for fact in ("reference", "reference_reason", "size", "pasted", "rate", "source_crops"):
        assert found[fact] == wanted[fact], fact
    assert wanted["reference"] > 0, "the first frame would be right without a search"


def test_without_face_shapes_the_first_frame_serves_and_is_told(
    run: Run, make: Maker, tilted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "motion.safetensors"
    stored = record(run, make.driver(), out, "--no-shapes")
    assert stored["face_shapes"] == 0
    assert read_template(out).faces is None
    report, pictures = animate(run, tilted, out, tmp_path / "template")
    assert report["reference"] == 0
    assert any("no face shapes" in warning for warning in report["warnings"])
    first, wanted = animate(run, tilted, make.driver(), tmp_path / "clip", "--reference", "0")
    assert first["reference"] == 0
    np.testing.assert_array_equal(pictures, wanted)
