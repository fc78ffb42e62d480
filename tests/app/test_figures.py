"""``synhead figures`` on tiny weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.app.models import untrained
from synhead.config import ablate, preset
from synhead.model.talking_head import TalkingHead
from synhead.weights import checkpoint
from tests.app.conftest import Finished
from tests.data.clip_factory import write_video

Run = Callable[..., Finished]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for clip, name in enumerate(("train/a#1#0#6.mp4", "val/b#1#0#6.mp4", "val/c#1#0#6.mp4")):
        write_video(tmp_path / "clips" / name, clip=clip, frames=6, size=64)
    return tmp_path / "clips"


def test_everything_is_drawn(run: Run, tiny: Path, media: Path, clips: Path, tmp_path: Path) -> None:
    base = checkpoint.save(TalkingHead(ablate(preset("tiny"), "baseline")), tmp_path / "baseline", trained=False)
    output = tmp_path / "out"
    given = ("figures", tiny, media / "portrait.jpg", media / "driving.mp4", "-o", output)
    finished = run(*given, "--data", clips, "--with", f"plain={base}", "--frame", 2, "--device", "cpu")
    assert finished.code == 0, finished.err
    drawn = {path.stem for path in output.glob("*.png")}
    assert drawn == {
        "fig05-portrait",
        "fig05-reconstruction",
        "fig05-reenactment",
        "fig07-motion-codebook",
        "fig08-appearance-codebook",
        "fig10-motion-compensation",
        "fig11-appearance-compensation",
        "occlusion",
        "code-usage",
    }
    page = (output / "index.html").read_text()
    assert page.count("data:image/png") == len(drawn)
    assert "frame 2 of driving.mp4" in page
    assert str(tiny) not in page
    assert len(set(re.findall("<h2>(.*?)</h2>", page))) == len(drawn)
    assert "codes were chosen by no scale" in finished.err
    codes = json.loads((output / "codes.json").read_text())
    assert codes["pairs"] == 10
    assert set(codes["codebooks"]) == {"motion", "appearance"}


def test_a_model_without_codebooks_and_a_still_driver(run: Run, media: Path, clips: Path, tmp_path: Path) -> None:
    base = checkpoint.save(TalkingHead(ablate(preset("tiny"), "baseline")), tmp_path / "baseline", trained=False)
    portrait, output = media / "portrait.jpg", tmp_path / "out"
    finished = run("figures", base, portrait, portrait, "-o", output, "--data", clips, "--rows", 1, "--device", "cpu")
    assert finished.code == 0, finished.err
    assert "UNTRAINED" in finished.err
    assert not (output / "code-usage.png").exists()
    assert (output / "fig10-motion-compensation.png").is_file()


def test_videos_of_another_system_are_compared(run: Run, tiny: Path, media: Path, tmp_path: Path) -> None:
    given = ("figures", tiny, media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out", "--device", "cpu")
    write_video(tmp_path / "rival" / "portrait__driving.mp4", clip=3, frames=5, size=64)
    assert run(*given, "--with", f"rival={tmp_path / 'rival'}").code == 0
    write_video(tmp_path / "rival" / "portrait__driving.mp4", clip=3, frames=2, size=64)
    finished = run(*given, "--with", f"rival={tmp_path / 'rival'}")
    assert finished.code == 2
    assert "shorter than its driver" in finished.err


def test_wrong_use_is_one_line(run: Run, tiny: Path, media: Path, tmp_path: Path) -> None:
    big = checkpoint.save(untrained("tiny", size=128), tmp_path / "big", trained=False)
    given = ("figures", tiny, media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out", "--device", "cpu")
    wrong = {
        ("--with", "nothing"): "NAME=PATH",
        ("--with", f"tiny={big}"): "comes twice",
        ("--with", f"big={big}"): "128 px, not 64",
        ("--with", f"rival={tmp_path}"): "neither a checkpoint nor a video portrait__driving.mp4",
        ("--frame", "99"): "no frame 99",
        ("--data", str(tmp_path / "none")): "no such folder",
    }
    for options, words in wrong.items():
        finished = run(*given, *options)
        assert finished.code == 2, options
        assert words in finished.err, options
