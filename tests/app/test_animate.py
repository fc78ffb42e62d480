"""``synhead animate``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synhead.data.video import probe, read_frames
from synhead.faces import task_file
from synhead.inference.engines import engine_for
from synhead.provenance.verify import verify_file
from tests.app.conftest import FRAMES, Finished

Run = Callable[..., Finished]
MIDDLE = ("--crop", "center", "--driving-crop", "center")


def test_animates_and_says_that_weights_are_untrained(run: Run, media: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    finished = run("animate", media / "portrait.jpg", media / "driving.mp4", "-o", out, "--preset", "tiny", *MIDDLE)
    assert finished.code == 0, finished.err
    assert f"{out}: {FRAMES} frames at 25 fps, 64 x 64 (crop only)" in finished.out
    assert "UNTRAINED" in finished.err
    assert len(list(read_frames(out))) == FRAMES
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_all_options_with_a_checkpoint(run: Run, media: Path, tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "row.mkv"
    given = ["animate", media / "portrait.jpg", media / "driving.mp4", "-o", out, "--checkpoint", tiny, *MIDDLE]
    given += ["--side-by-side", "--device", "cpu", "--precision", "bf16", "--motion", "relative"]
    given += ["--no-adapt-scale", "--reference", 2, "--multiplier", 1.5, "--smooth", 1, "--parts", "head"]
    given += ["--codec", "h265", "--label", "AI", "--crop-movement", "follow", "--driving-face", "leftmost"]
    finished = run(*given, "--fit", "pad", "--crf", 30, "--batch", 2, "--audio", "none")
    assert finished.code == 0, finished.err
    assert "UNTRAINED" not in finished.err
    assert "driver frame 2, as named" in finished.err
    verdict = verify_file(out)
    assert (verdict.state, verdict.model) == ("intact", tiny.name)  # its folder is nobody's business
    assert verdict.model_sha256 == hashlib.sha256((tiny / "model.safetensors").read_bytes()).hexdigest()
    info = probe(out)
    assert (info.width, info.height) == (3 * 64, 64)


def test_environment_names_the_weights(
    run: Run, media: Path, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNHEAD_CHECKPOINT", str(tiny))
    out = tmp_path / "out.mp4"
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", out, "--motion", "absolute")
    finished = run(*given, *MIDDLE)
    assert finished.code == 0, finished.err
    assert str(tiny) in finished.err


def test_reference_beyond_the_end(run: Run, media: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", out, "--preset", "tiny", *MIDDLE)
    finished = run(*given, "--reference", 999)
    assert finished.code == 2
    assert not out.exists()


def test_json_report(run: Run, media: Path, tmp_path: Path) -> None:
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out", "--preset", "tiny")
    finished = run(*given, *MIDDLE, "--json")
    report = json.loads(finished.out)
    assert (report["frames"], report["size"], report["pasted"]) == (FRAMES, [64, 64], False)
    assert len(list((tmp_path / "out").glob("*.png"))) == FRAMES


@pytest.mark.parametrize(("asked", "used"), [((), None), (("--engine", "prepared"), "prepared")])
def test_the_engine_is_chosen_and_told(
    run: Run, media: Path, tmp_path: Path, asked: tuple[str, ...], used: str | None
) -> None:
    used = used or engine_for(torch.device("cpu"), "fp32")
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out.gif", "--preset", "tiny")
    given = (*given, *MIDDLE, "--device", "cpu", *asked)
    report = json.loads(run(*given, "--json").out)
    assert (report["engine"], report["precision"]) == (used, "fp32")
    assert f"on cpu, {used} in fp32" in run(*given).err


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--engine", "ray"), "unknown engine 'ray'; choose one of eager, prepared"),
        (("--engine", "onnx"), "needs a graph: write one with synhead export"),
        (("--graph", "a.onnx"), "needs a graph: write one with synhead export"),
        (("--engine", "onnx", "--graph", "a.onnx"), "a.onnx does not exist"),
        (("--engine", "onnx", "--graph", "a.onnx", "--precision", "bf16"), "runs in fp32"),
    ],
)
def test_engines_that_cannot_be(run: Run, media: Path, tmp_path: Path, asked: tuple[str, ...], told: str) -> None:
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out.gif", "--preset", "tiny")
    finished = run(*given, "--device", "cpu", *asked)
    assert finished.code == 2
    assert told in finished.err
    assert len(finished.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_box_is_pasted_back_unless_crop_only(run: Run, media: Path, tmp_path: Path) -> None:
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "--preset", "tiny", "--driving-crop", "center")
    box = ("--crop", "8,8,40,40")
    finished = run(*given, "-o", tmp_path / "a.mp4", *box)
    assert "64 x 72 (the whole picture)" in finished.out, finished.err
    finished = run(*given, "-o", tmp_path / "b.mp4", *box, "--crop-only")
    assert "64 x 64 (crop only)" in finished.out, finished.err


def test_no_face_in_the_portrait(run: Run, media: Path, tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out.mp4", "--preset", "tiny")
    finished = run(*given)
    assert finished.code == 2
    assert "--crop center" in finished.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_preview_does_not_get_into_the_json_report(run: Run, media: Path, tmp_path: Path) -> None:
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out.mp4", "--preset", "tiny")
    finished = run(*given, *MIDDLE, "--preview", tmp_path / "crop.png", "--json")
    assert finished.code == 0, finished.err
    assert json.loads(finished.out)["frames"] == FRAMES
    assert "crop.png" in finished.err


def test_preview_alone(run: Run, media: Path, tmp_path: Path) -> None:
    preview = tmp_path / "crop.png"
    finished = run("animate", media / "portrait.jpg", "--preview", preview, "--crop", "8,8,40,40")
    assert finished.code == 0, finished.err
    drawn = np.asarray(Image.open(preview))
    assert (drawn == (0, 224, 96)).all(axis=-1).any()


def test_driver_and_output_are_needed(run: Run, media: Path) -> None:
    finished = run("animate", media / "portrait.jpg")
    assert finished.code == 2
    assert "--preview" in finished.err


def test_fetching_the_face_model_needs_the_option(
    run: Run, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def fetch() -> Path:
        fetched.append("now")
        return tmp_path / "face_landmarker.task"

    monkeypatch.setattr(task_file, "fetch_task_file", fetch)
    given = ("animate", media / "portrait.jpg", "--preview", tmp_path / "crop.png", "--crop", "center")
    run(*given)
    assert fetched == []
    assert "face_landmarker.task" in run(*given, "--fetch-face-model").err
    assert fetched == ["now"]
