"""What the program's tests share: media files, tiny checkpoints, and a way to run commands in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from synhead.app.cli import main
from synhead.app.models import untrained
from synhead.data.image import write_image
from synhead.data.video import VideoWriter
from synhead.weights import checkpoint

FRAMES = 5


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    def run_command(*arguments: object) -> Finished:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Finished(code=int(stop.value.code or 0), out=captured.out, err=captured.err)

    return run_command


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with portrait.jpg and driving.mp4, of noise."""
    folder = tmp_path_factory.mktemp("media")
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 72, 64, 3), dtype=np.uint8)
    write_image(folder / "portrait.jpg", noise[0])
    with VideoWriter(folder / "driving.mp4", rate=Fraction(25), size=(64, 72)) as writer:
        for frame in noise:
            writer.write(frame)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder that claims to be trained."""
    return checkpoint.save(untrained("tiny"), tmp_path_factory.mktemp("weights") / "tiny")
