"""``synhead record``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synhead.app.models import ModelChoice, load_animator
from synhead.data.video import read_frames
from synhead.inference.animator import AnimatorOptions
from synhead.inference.template_file import read_template
from tests.app.conftest import FRAMES, Finished

Run = Callable[..., Finished]


def test_records_and_says_that_weights_are_untrained(run: Run, media: Path, tmp_path: Path) -> None:
    out = tmp_path / "motion.safetensors"
    finished = run("record", media / "driving.mp4", "-o", out, "--preset", "tiny", "--reference", 2, "--batch", 2)
    assert finished.code == 0, finished.err
    assert f"{out}: {FRAMES} frames at 25 fps" in finished.out
    assert f"{round(out.stat().st_size / FRAMES)} bytes a frame, no face shapes" in finished.out
    assert "UNTRAINED" in finished.err
    assert [path.name for path in tmp_path.iterdir()] == ["motion.safetensors"]
    assert read_template(out).reference == 2


def test_the_template_drives_the_model_it_was_recorded_with(run: Run, media: Path, tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "motion.safetensors"
    finished = run("record", media / "driving.mp4", "-o", out, "--checkpoint", tiny, "--device", "cpu", "--fit", "pad")
    assert finished.code == 0, finished.err
    assert "UNTRAINED" not in finished.err
    template = read_template(out)
    assert (template.origin.checkpoint, template.origin.fit) == (str(tiny), "pad")
    animator, _ = load_animator(
        ModelChoice(checkpoint=str(tiny)), device="cpu", precision="fp32", options=AnimatorOptions(fit="pad")
    )
    template.check_model(animator.fingerprint)
    animator.observe(media / "portrait.jpg")
    pictures = (frame.image for frame in read_frames(media / "driving.mp4", size=64, fit="pad"))
    np.testing.assert_array_equal(
        np.stack(list(animator.follow(template.motion(8)))), np.stack(list(animator.animate(pictures)))
    )


def test_json_says_what_was_stored(run: Run, media: Path, tmp_path: Path) -> None:
    out = tmp_path / "motion.safetensors"
    finished = run("record", media / "driving.mp4", "-o", out, "--preset", "tiny", "--crop", "center", "--json")
    found = json.loads(finished.out)
    assert (found["path"], found["frames"], found["rate"], found["reference"]) == (str(out), FRAMES, "25", None)
    assert (found["bytes"], found["face_shapes"]) == (out.stat().st_size, 0)
    assert found["bytes_per_frame"] == round(found["bytes"] / FRAMES)


@pytest.mark.parametrize(("engine", "known"), [("eager", True), ("fastest", False)])
def test_the_engine_is_the_users_choice(run: Run, media: Path, tmp_path: Path, engine: str, *, known: bool) -> None:
    out = tmp_path / "motion.safetensors"
    finished = run("record", media / "driving.mp4", "-o", out, "--preset", "tiny", "--engine", engine)
    assert finished.code == (0 if known else 2), finished.err
    assert out.exists() == known


@pytest.mark.parametrize(
    ("driving", "output", "more", "remedy"),
    [
        ("none.mp4", "m.safetensors", (), "check the path"),
        ("portrait.jpg", "m.safetensors", (), "video"),
        ("driving.mp4", "m.mp4", (), "safetensors"),
        ("driving.mp4", "no/m.safetensors", (), "create it"),
        ("driving.mp4", "m.safetensors", ("--reference", 99), "0 to 4"),
        ("driving.mp4", "m.safetensors", ("--face", "all"), "choose largest, leftmost or one number"),
    ],
)
def test_errors_are_one_line(
    run: Run, media: Path, tmp_path: Path, driving: str, output: str, more: tuple[object, ...], remedy: str
) -> None:
    finished = run("record", media / driving, "-o", tmp_path / output, "--preset", "tiny", *more)
    assert finished.code == 2
    assert remedy in finished.err
    assert "Traceback" not in finished.err
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_template_survives_ctrl_c(
    run: Run, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "motion.safetensors"
    out.write_bytes(b"earlier")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("synhead.app.progress.FrameProgress.look", stop)
    assert run("record", media / "driving.mp4", "-o", out, "--preset", "tiny").code == 130
    assert out.read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
