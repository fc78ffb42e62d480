"""A study of three systems and two examples, of tiny videos that a browser can play."""

from __future__ import annotations

from pathlib import Path

import pytest

from synhead.app.user_study.material import Material, gather
from tests.data.clip_factory import write_video

SYSTEMS = ("ours", "rival-one", "rival-two")
EXAMPLES = ("smile_obama", "turn-left")


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    for clip, system in enumerate(SYSTEMS):
        for number, example in enumerate(EXAMPLES):
            write_video(tmp_path / system / f"{example}.mp4", clip=4 * clip + number, frames=20, size=64)
    write_video(tmp_path / "shown" / f"{EXAMPLES[0]}.mp4", clip=12, frames=20, size=64)
    return [str(tmp_path / system) for system in SYSTEMS]


@pytest.fixture
def material(folders: list[str], tmp_path: Path) -> Material:
    return gather(folders, tmp_path / "shown")
