"""The commands of docs/training.md run: tiny model, two processes, few iterations, a stub for the face detector."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synhead.app.cli import main
from synhead.config import presets
from synhead.data.face_points import save_points
from synhead.model.talking_head import TalkingHead
from synhead.training.preparation import run as preparation
from synhead.types import FacePoint
from synhead.weights.checkpoint import save
from tests.app.test_prepare import RedSquares, write_face_video

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
COMMANDS = [shlex.split(line) for line in LINES if line.strip() and not line.startswith("#")]
QUICK = shlex.split(
    "--device cpu --precision fp32 --compile off --no-cuda-graphs --perceptual none --iterations 2 --batch 1 "
    "--adversarial-start 1 --no-tensorboard --set training.discriminator_width=4 "
    "--set training.every.log=1 --set training.every.validate=2"
)


@pytest.fixture
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Videos and a VoxCeleb folder; every preset is the tiny one, and red squares are faces."""

    def in_order(prepare, sources, workers):
        return (prepare(source, opener=RedSquares) for source in sources)

    monkeypatch.setattr(preparation, "open_detector", RedSquares)
    monkeypatch.setattr(preparation, "_in_processes", in_order)
    tiny = presets.PRESETS["tiny"]
    led = replace(tiny, keypoints=replace(tiny.keypoints, count=len(FacePoint)))
    monkeypatch.setattr(presets, "PRESETS", dict.fromkeys(("paper", "base"), led))
    monkeypatch.chdir(tmp_path)
    save(TalkingHead(led), tmp_path / "start", trained=False)  # what benchmarks/keypoints.py would have made
    (tmp_path / "videos").mkdir()
    for seed, name in ((1, "sue#1"), (2, "ann#1")):  # her name's hash puts sue into the tenth that is held out
        write_face_video(tmp_path / "videos" / f"{name}.mp4", seed=seed, frames=26, shift=30 * seed - 30)
    for split in ("train", "test"):
        for name in ("a#1#0#4.mp4", "b#1#0#4.mp4"):
            folder = tmp_path / "voxceleb" / split / name
            folder.mkdir(parents=True)
            for index in range(3):
                picture = np.random.default_rng(index).integers(0, 256, (64, 64, 3), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{index:07d}.png")
    return tmp_path


@pytest.mark.slow
def test_commands_of_synhead_run_in_order(users_folder: Path) -> None:
    ours = [command for command in COMMANDS if command[:2] in (["synhead", "prepare"], ["synhead", "train"])]
    assert len(ours) >= 5
    for command in ours:
        if "--landmarks" in command:
            lengths = {path.stem: 26 for path in (users_folder / "clips" / "clips").glob("*.mp4")}
            save_points(
                {name: np.full((n, len(FacePoint), 2), 0.5) for name, n in lengths.items()}, Path("landmarks.npz")
            )
        more = QUICK if command[1] == "train" else []
        with pytest.raises(SystemExit) as stop:
            main([*command[1:], *more])
        assert not stop.value.code, command
    for made in ("weights", "best"):
        assert len(list((users_folder / "runs").glob(f"*/{made}/model.safetensors"))) == len(ours) - 1


@pytest.mark.slow
def test_legs_under_torchrun_go_on_from_each_other(users_folder: Path) -> None:
    """As written, but on two processes, the tiny preset, and two more iterations a leg."""
    legs = [command for command in COMMANDS if command[0] == "torchrun" and "--export-leg" in command]
    assert len(legs) == 3
    for index, command in enumerate(legs):
        given = " ".join(command[1:])
        given = re.sub(r"--nproc-per-node \d", f"--nproc-per-node {2 if index == 0 else 1}", given)
        given = re.sub(r"--preset \w+", "--preset tiny", given).replace("--data clips", "--data voxceleb")
        quick = [*QUICK, "--iterations", str(index + 1)]
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", *given.split(), *quick],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        assert f"finished at iteration {index + 1}" in done.stdout.replace("\n", " ")
    assert (users_folder / "runs" / "leg3" / "weights" / "model.safetensors").is_file()


@pytest.mark.parametrize(("name", "before"), [("train", "synhead.app.train"), ("evaluate", "evaluate")])
def test_options_exist(name: str, before: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Behind torchrun (the Slurm lines too, which need a cluster to run), and of what measures the result."""
    with pytest.raises(SystemExit):
        main([name, "--help"])
    told = re.sub(r"\x1b\[[0-9;]*m", "", capfd.readouterr().out)
    given = [command[command.index(before) :] for command in COMMANDS if before in command]
    assert given
    for option in (word for command in given for word in command if word.startswith("--")):
        assert re.search(rf"{option}\b", told), option


def test_tests_of_the_table_exist() -> None:
    named = set(re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)`", TEXT))
    assert len(named) >= 6
    assert named <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}
