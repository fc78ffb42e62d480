"""Retargeting within a run: an engine whose keypoints know how far a painted mouth is open, and an analyzer too."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import torch

from synhead.config import ConfigError
from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.boxes import bounding_box
from synhead.faces.framing import Framing
from synhead.inference import openings
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.clock import Clock
from synhead.inference.drivers import TemplateDriver, VideoDriver
from synhead.inference.footage import Shape, framed_footage
from synhead.inference.keypoint_stream import joined
from synhead.inference.recording import record_video
from synhead.inference.retargeting import Strengths
from synhead.types import Keypoints
from tests.data.video_factory import write_clip
from tests.inference.engine_double import ShiftEngine

FRAMES = 48
GAPS = [(8 + round(8 * np.sin(frame))) for frame in range(FRAMES)]


def gap(image: np.ndarray) -> float:
    """Height of the black mouth as a share of the picture."""
    return float((image[:, len(image) // 2].max(axis=-1) < 60).mean())


class MouthEngine(ShiftEngine):
    """One keypoint lies lower the wider the mouth is open."""

    def keypoints(self, frames):
        position = torch.zeros(len(frames), 5, 2)
        position[:, 0, 1] = torch.tensor([gap(frame) for frame in frames])
        return Keypoints(position, torch.eye(2).repeat(len(frames), 5, 1, 1))


class MouthAnalyzer:
    version = "mouth"

    def landmarks(self, image):
        if image.mean() > 250:
            return ()
        points = np.zeros((478, 2), np.float32)
        points[14, 1], points[78, 0], points[308, 0] = 100 * gap(image), 0, 100
        points[[33, 263], 0], points[[133, 362], 0] = 0, 10
        return (FaceLandmarks(points, points[:, 0].copy(), bounding_box(points), 1.0),)

    def close(self):
        pass


@pytest.fixture
def animator(model, monkeypatch) -> Animator:
    monkeypatch.setattr(openings, "open_analyzer", lambda _: MouthAnalyzer())
    animator = Animator(model, AnimatorOptions(batch_size=8))
    animator.engine = MouthEngine(64)
    return animator


def painted(height: int) -> np.ndarray:
    image = np.full((64, 64, 3), 160, np.uint8)
    image[30 : 30 + height, 20:44] = 0
    return image


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "d.mp4", FRAMES, pictures=[painted(height) for height in GAPS])


def test_a_frame_without_a_face_holds_the_last_openings(animator, tmp_path):
    white = np.full((64, 64, 3), 255, np.uint8)
    pictures = [white if i in (0, 5) else painted(height) for i, height in enumerate(GAPS)]
    clip = write_clip(tmp_path / "white.mp4", FRAMES, pictures=pictures)
    with ExitStack() as stack:
        driver = VideoDriver(framed_footage(clip, Framing(crop="center"), Shape(size=64), None, Clock(), stack), stack)
        measured = openings.measure(animator, driver, 0)
    assert len(measured.openings) == FRAMES
    assert measured.openings[0] == measured.openings[1] == measured.rest
    assert measured.openings[4] == measured.openings[5] != measured.openings[6]


def test_the_mouths_movement_is_doubled_about_its_rest(animator, clip):
    with ExitStack() as stack:
        driver = VideoDriver(framed_footage(clip, Framing(crop="center"), Shape(size=64), None, Clock(), stack), stack)
        measured = openings.measure(animator, driver, 0)
        moves = list(openings.retargeted(driver.moves(animator, Clock()), measured, Strengths(mouth=2.0)))
    assert [move.time for batch in moves for move in batch.frames] == sorted(
        move.time for batch in moves for move in batch.frames
    )
    found = joined(batch.keypoints for batch in moves).position[:, 0, 1].numpy()
    driven = np.array(GAPS) / 64
    assert found - found[0] == pytest.approx(2 * (driven - driven[0]), abs=0.03)
    assert any("eyes" in warning for warning in measured.warnings)  # they never move in this clip


def test_a_template_shows_no_faces(animator, clip):
    with pytest.raises(ConfigError, match="--mouth"):
        openings.measure(animator, TemplateDriver(record_video(animator, clip).template), 0)
