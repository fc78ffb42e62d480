"""``synhead animate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.data.video import probe, read_frames
from tests.app.conftest import FRAMES, Finished

Run = Callable[..., Finished]


def test_animates_and_says_that_weights_are_untrained(run: Run, media: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    finished = run("animate", media / "portrait.jpg", media / "driving.mp4", "-o", out, "--preset", "tiny")
    assert finished.code == 0, finished.err
    assert f"{out}: {FRAMES} frames at 25 fps" in finished.out
    assert "UNTRAINED" in finished.err
    assert len(list(read_frames(out))) == FRAMES
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_all_options_with_a_checkpoint(run: Run, media: Path, tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "row.mkv"
    given = ["animate", media / "portrait.jpg", media / "driving.mp4", "-o", out, "--checkpoint", tiny]
    given += ["--side-by-side", "--device", "cpu", "--precision", "bf16", "--motion", "relative"]
    given += ["--no-adapt-scale", "--reference", 2]
    finished = run(*given, "--fit", "pad", "--crf", 30, "--batch", 2, "--no-audio")
    assert finished.code == 0, finished.err
    assert "UNTRAINED" not in finished.err
    info = probe(out)
    assert (info.width, info.height) == (3 * 64, 64)


def test_environment_names_the_weights(
    run: Run, media: Path, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNHEAD_CHECKPOINT", str(tiny))
    out = tmp_path / "out.mp4"
    finished = run("animate", media / "portrait.jpg", media / "driving.mp4", "-o", out, "--motion", "absolute")
    assert finished.code == 0, finished.err
    assert str(tiny) in finished.err


def test_reference_beyond_the_end(run: Run, media: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", out, "--preset", "tiny")
    finished = run(*given, "--reference", 999)
    assert finished.code == 2
    assert not out.exists()
