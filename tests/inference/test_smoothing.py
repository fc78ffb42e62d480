import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from synhead.config import ConfigError
from synhead.inference.keypoint_stream import frames_of, joined, rows
from synhead.inference.smoothing import MAX_FRAMES, Smoothing, smooth
from synhead.types import Keypoints
from tests.inference.conftest import keypoints

CAUSAL, LOOKAHEAD = Smoothing(mode="causal", frames=3.0), Smoothing(mode="lookahead", frames=2.0)


def path(x: torch.Tensor) -> Keypoints:
    """All keypoints shifted by x (frames), their Jacobians scaled by 1 + x."""
    still = keypoints(1, 3, count=5)
    return Keypoints(position=still.position + x[:, None, None], jacobian=still.jacobian * (1 + x[:, None, None, None]))


def smoothed(motion: Keypoints, smoothing: Smoothing) -> Keypoints:
    return joined(smooth([motion], smoothing))


@pytest.mark.parametrize("smoothing", [CAUSAL, LOOKAHEAD])
@pytest.mark.parametrize("frames", [1, 2, 5, 40])
def test_a_still_clip_does_not_change_by_a_bit(smoothing, frames):
    still = keypoints(1, 0)
    found = smoothed(joined([still] * frames), smoothing)
    assert torch.equal(found.position, still.position.expand(frames, -1, -1))
    assert torch.equal(found.jacobian, still.jacobian.expand(frames, -1, -1, -1))


@pytest.mark.parametrize("smoothing", [CAUSAL, LOOKAHEAD])
def test_noise_shrinks(smoothing):
    generator = torch.Generator().manual_seed(0)
    still = keypoints(1, 1)
    noisy = Keypoints(
        position=still.position + 0.003 * torch.randn(300, 15, 2, generator=generator),
        jacobian=still.jacobian + 0.01 * torch.randn(300, 15, 2, 2, generator=generator),
    )
    found = smoothed(noisy, smoothing)
    for before, after, truth in (
        (noisy.position, found.position, still.position),
        (noisy.jacobian, found.jacobian, still.jacobian),
    ):
        assert (after - truth)[20:-20].std() < 0.6 * (before - truth)[20:-20].std()


def test_lookahead_keeps_a_steady_movement_exactly_and_has_no_lag():
    ramp = path(torch.arange(60) * 0.01)
    found = smoothed(ramp, LOOKAHEAD)
    torch.testing.assert_close(found.position, ramp.position)
    step = path((torch.arange(60) >= 30).float())
    crossing = smoothed(step, LOOKAHEAD).position[:, 0, 0] - step.position[0, 0, 0]
    assert crossing[29] < 0.5 < crossing[30]
    torch.testing.assert_close(crossing[29] + crossing[30], torch.tensor(1.0))


@pytest.mark.parametrize("speed", [1e-4, 1e-3, 0.01, 0.1])
@pytest.mark.parametrize("frames", [0.5, 3.0])
def test_causal_lag_is_bounded_and_shrinks_with_speed(speed, frames):
    ramp = path(torch.arange(200, dtype=torch.float64) * speed)
    found = smoothed(ramp, Smoothing(mode="causal", frames=frames))
    lag = ((ramp.position - found.position)[-1].abs().max() / speed).item()
    assert 0 < lag <= frames
    if speed >= 0.01:
        assert lag < 0.55 * frames


@pytest.mark.parametrize("count", [1, 3, 12, 13, 14, 30])
def test_lookahead_equals_its_definition(count):
    motion = path(torch.rand(count, generator=torch.Generator().manual_seed(2)).double())
    found = smoothed(motion, LOOKAHEAD).position
    for i in range(count):
        radius = min(LOOKAHEAD.radius, i, count - 1 - i)
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        weights = torch.exp(-((offsets / LOOKAHEAD.frames) ** 2) / 2)
        around = motion.position[i - radius : i + radius + 1]
        wanted = (weights[:, None, None] * around).sum(0) / weights.sum()
        torch.testing.assert_close(found[i], wanted)


@pytest.mark.parametrize(("smoothing", "ahead"), [(CAUSAL, 0), (LOOKAHEAD, 6)])
def test_reads_no_further_than_it_says(smoothing, ahead):
    taken = []
    endless = (taken.append(i) or keypoints(1, 0) for i in itertools.count())
    found = smooth(endless, smoothing)
    next(found)
    assert len(taken) == 1 + ahead == 1 + smoothing.radius


@given(st.integers(1, 25), st.integers(1, 9), st.sampled_from([CAUSAL, LOOKAHEAD]))
@settings(max_examples=30, deadline=None)
def test_batches_do_not_matter(count, size, smoothing):
    motion = keypoints(count, 5, count=3)
    cut = [rows(motion, i, i + size) for i in range(0, count, size)]
    assert torch.equal(joined(smooth(cut, smoothing)).position, joined(smooth([motion], smoothing)).position)
    assert len(list(smooth(cut, smoothing))) == len(list(frames_of(cut))) == count


def test_no_frames():
    assert list(smooth([], CAUSAL)) == list(smooth([], LOOKAHEAD)) == []


@pytest.mark.parametrize("options", [{"mode": "magic"}, {"frames": 0.0}, {"frames": MAX_FRAMES + 1}])
def test_bad_options(options):
    with pytest.raises((ConfigError, TypeCheckError)):
        Smoothing(**options)
