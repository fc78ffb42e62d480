"""The README's commands and code run, with the tiny model."""

from __future__ import annotations

import re
import shlex
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from synhead.app.cli import main
from synhead.app.models import untrained
from synhead.config import ModelConfig, preset
from synhead.data.image import write_image
from synhead.data.video import VideoWriter, read_frames
from synhead.weights import checkpoint, official

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FRAMES = 3


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
OURS = [command for command in COMMANDS if command.startswith("synhead ")]


@pytest.fixture
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the README speaks of."""

    def tiny_preset(name: str) -> ModelConfig:
        del name
        return preset("tiny")

    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8)
    write_image(tmp_path / "portrait.jpg", astronaut())
    with VideoWriter(tmp_path / "driving.mp4", rate=Fraction(25), size=(64, 64)) as writer:
        for frame in noise:
            writer.write(frame)
    base = checkpoint.save(untrained("tiny"), tmp_path / "weights" / "base")
    official.export(base, tmp_path / "net_g.pth", tmp_path / "net_motion_estimator.pth")
    monkeypatch.setattr(official, "preset", tiny_preset)
    monkeypatch.setenv("SYNHEAD_CHECKPOINT", str(base))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_run_in_order(users_folder: Path) -> None:
    assert len(OURS) >= 8
    for command in OURS:
        with pytest.raises(SystemExit) as stop:
            main(shlex.split(command)[1:])
        assert not stop.value.code, command
    for video in ("out.mp4", "row.mp4", "loop.gif", "paper.mp4"):
        assert len(list(read_frames(users_folder / video))) == FRAMES


def test_python_runs(users_folder: Path) -> None:
    names: dict[str, object] = {}
    code = blocks("python")
    assert len(code) == 2
    for block in code:
        exec(compile(block, "README.md", "exec"), names)
    assert len(list(read_frames(users_folder / "out.mp4"))) == FRAMES


def test_five_lines() -> None:
    first = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(first) == 5


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_targets_exist(command: str, tmp_path: Path) -> None:
    given = [*shlex.split(command), "--dry-run", f"VENV={tmp_path / 'venv'}"]
    dry = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr


def test_every_command_is_one_of_ours_or_make() -> None:
    assert {shlex.split(command)[0] for command in COMMANDS} == {"make", "synhead"}


def test_commands_of_the_table_exist() -> None:
    named = set(re.findall(r"^\| `synhead (\w+)", README, flags=re.MULTILINE))
    app = ROOT / "src" / "synhead" / "app"
    files = {path.stem for path in app.iterdir()}
    assert named
    assert named <= files
