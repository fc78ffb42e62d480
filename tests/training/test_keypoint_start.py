"""The detector trained alone: it learns, and what it reports is what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from synhead.config import ConfigError, preset
from synhead.data.pairs import PairBatch
from synhead.model.keypoints import KeypointDetector
from synhead.training.keypoint_start import KeypointFigures, KeypointStart, held_out_figures, train_keypoints
from synhead.types import FacePoint

TINY = preset("tiny")
CONFIG = replace(TINY, keypoints=replace(TINY.keypoints, count=14, detail="patches"))


def a_spot(batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of a bright spot, at which all twelve landmarks are."""
    place = torch.rand(batch, 1, 2, generator=generator) - 0.5
    line = torch.linspace(-1, 1, 64)
    distance = (line[None, None, :] - place[:, :, :1]).square() + (line[None, :, None] - place[:, :, 1:]).square()
    image = 2 * (-distance / 0.02).exp() - 1
    return image[:, None].expand(-1, 3, -1, -1), place.expand(-1, len(FacePoint), -1)


class Spots:
    """An endless stream of them."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def next_batch(self, batch: int) -> PairBatch:
        source, driving = a_spot(batch, self.generator), a_spot(batch, self.generator)
        return PairBatch(source[0], driving[0], source[1], driving[1])

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        del state


def test_it_learns_where_the_landmarks_are() -> None:
    torch.manual_seed(0)
    detector = KeypointDetector(CONFIG)
    images, points = a_spot(32, torch.Generator().manual_seed(9))
    before = held_out_figures(detector, images, points)
    seen: list[KeypointFigures] = []
    config = KeypointStart(steps=60, batch=8, rate=3e-3, warmup=5)
    train_keypoints(detector, Spots(), config, torch.device("cpu"), seen.append, every=30)
    after = held_out_figures(detector, images, points)
    assert [figures.step for figures in seen] == [30, 60]
    assert not detector.training
    assert before.landmarks_px > 5
    assert after.landmarks_px < before.landmarks_px / 2
    assert after.landmarks_px == pytest.approx(seen[-1].landmarks_px, rel=0.6)


def test_a_detector_of_too_few_keypoints_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 12 keypoints"):
        train_keypoints(KeypointDetector(TINY), Spots(), KeypointStart(steps=1), torch.device("cpu"))


def test_figures_are_pixels_over_pictures_with_a_face() -> None:
    images, _ = a_spot(4, torch.Generator().manual_seed(1))
    detector = KeypointDetector(CONFIG).eval()
    with torch.no_grad():
        found = detector(images).position[:, : len(FacePoint)] * (63 / 64)
    exact = held_out_figures(detector, images, found)
    assert exact.landmarks_px == pytest.approx(0, abs=1e-4)
    moved = found + torch.tensor([2 / 64 * 3, 0.0])  # three pixels to the right
    moved[1] = torch.nan  # no face
    figures = held_out_figures(detector, images, moved, step=7)
    assert figures.step == 7
    assert figures.landmarks_px == pytest.approx(1.5, rel=1e-3)
    assert figures.openings_px == pytest.approx(0, abs=1e-4)


def test_the_rate_rises_and_falls_to_nothing() -> None:
    config = KeypointStart(steps=100, warmup=10, rate=1.0)
    rates = [config.rate_at(step) for step in range(1, 101)]
    assert max(rates) == pytest.approx(rates[9], rel=0.01)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
