"""The crop preview through the program."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synhead.data.video import VideoWriter
from tests.app.conftest import Finished


def test_a_video_shows_its_first_frame(run: Callable[..., Finished], media: Path, tmp_path: Path) -> None:
    target = tmp_path / "crop.png"
    finished = run("animate", media / "driving.mp4", "--preview", target, "--crop", "center")
    assert finished.code == 0, finished.err
    assert Image.open(target).size == (64, 72)


def test_numbers_of_real_faces(run: Callable[..., Finished], tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    person = pytest.importorskip("skimage.data").astronaut()
    photo, target = tmp_path / "photo.png", tmp_path / "crop.jpg"
    Image.fromarray(np.concatenate([person, person[:, ::-1]], axis=1)).save(photo)
    finished = run("animate", photo, "--preview", target, "--face", "0")
    assert "faces: 2, crops: 1" in finished.out, finished.err
    assert Image.open(target).size == (1024, 512)


def test_a_video_that_fades_in_shows_its_first_face(run: Callable[..., Finished], tmp_path: Path) -> None:
    """No face was found in its first frame, and the animation that would follow was not made."""
    pytest.importorskip("mediapipe")
    person = pytest.importorskip("skimage.data").astronaut()
    with VideoWriter(tmp_path / "clip.mp4", rate=Fraction(25), size=(512, 512)) as writer:
        for index in range(12):
            writer.write(person if index >= 7 else np.zeros_like(person))
    finished = run("animate", tmp_path / "clip.mp4", "--preview", tmp_path / "crop.png")
    assert "faces: 1, crops: 1" in finished.out, finished.err
    assert np.asarray(Image.open(tmp_path / "crop.png")).mean() > 50
    finished = run("animate", tmp_path / "clip.mp4", "--preview", tmp_path / "crop.png", "--face", "3")
    assert finished.code == 2
    assert "no face was found" in finished.err
