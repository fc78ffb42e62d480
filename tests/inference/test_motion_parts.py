import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synhead.inference.motion_parts import fit_similarity, keep_part
from synhead.inference.motion_transfer import transfer_motion
from synhead.types import Keypoints
from tests.inference.conftest import keypoints

turns, sizes, shifts = st.floats(-1, 1), st.floats(0.6, 1.6), st.floats(-0.5, 0.5)


def similarity(turn: float, size: float) -> torch.Tensor:
    return size * torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])


def turned(reference: Keypoints, linear: torch.Tensor, shift: torch.Tensor) -> Keypoints:
    return Keypoints(position=reference.position @ linear.T + shift, jacobian=linear @ reference.jacobian)


def assert_close(found: Keypoints, wanted: Keypoints, tolerance: float = 2e-4) -> None:
    torch.testing.assert_close(found.position, wanted.position, rtol=0, atol=tolerance)
    torch.testing.assert_close(found.jacobian, wanted.jacobian, rtol=0, atol=tolerance)


@given(turns, sizes, shifts, shifts)
@settings(max_examples=40, deadline=None)
def test_a_moving_head_without_expression(turn, size, x, y):
    reference = keypoints(1, 0)
    driving = turned(reference, similarity(turn, size), torch.tensor([x, y]))
    assert_close(keep_part(driving, reference, "head"), driving)
    assert_close(keep_part(driving, reference, "face"), reference)


@given(turns, sizes, shifts, shifts)
@settings(max_examples=40, deadline=None)
def test_a_moving_head_and_a_mouth(turn, size, x, y):
    """Three keypoints of fifteen go their own way: the head is found in spite of them, and they without the head."""
    reference = keypoints(1, 0)
    spoken = Keypoints(position=reference.position.clone(), jacobian=reference.jacobian.clone())
    spoken.position[:, :3, 1] += 0.08
    spoken.jacobian[:, :3, 1, 1] += 0.3
    linear, shift = similarity(turn, size), torch.tensor([x, y])
    driving = turned(spoken, linear, shift)
    assert_close(keep_part(driving, reference, "head"), turned(reference, linear, shift), 2e-3)
    assert_close(keep_part(driving, reference, "face"), spoken, 4e-3)


def test_both_parts_together_are_all():
    reference, driving = keypoints(1, 0), keypoints(6, 1)
    fitted = fit_similarity(reference.position, driving.position)
    face = keep_part(driving, reference, "face")
    for i in range(6):
        again = turned(
            Keypoints(position=face.position[i : i + 1], jacobian=face.jacobian[i : i + 1]),
            fitted.linear[i],
            fitted.shift[i],
        )
        torch.testing.assert_close(again.position[0], driving.position[i], rtol=0, atol=1e-3)
    assert keep_part(driving, reference, "all") is driving


def test_a_head_turned_sideways_is_mostly_head():
    """A ball of points in space turned by 15 degrees, seen from the front: what a similarity cannot say is parallax."""
    generator = torch.Generator().manual_seed(0)
    missed = []
    for _ in range(50):
        disc = torch.rand(15, 2, generator=generator) - 0.5
        depth = -(0.6 - disc.square().sum(1)).sqrt()
        angle = math.radians(15)
        after = torch.stack([disc[:, 0] * math.cos(angle) + depth * math.sin(angle), disc[:, 1]], dim=1)
        jacobian = torch.eye(2).expand(1, 15, 2, 2)
        reference = Keypoints(position=disc[None], jacobian=jacobian)
        head = keep_part(Keypoints(position=after[None], jacobian=jacobian), reference, "head")
        missed.append((head.position[0] - after).norm() / (after - disc).norm())
    assert 0.05 < torch.stack(missed).median() < 0.35


@pytest.mark.parametrize("part", ["head", "face"])
def test_collapsed_keypoints_give_numbers(part):
    point = Keypoints(position=torch.zeros(1, 15, 2), jacobian=torch.eye(2).expand(1, 15, 2, 2))
    for reference, driving in ((point, keypoints(3, 0)), (keypoints(1, 0), point), (point, point)):
        found = keep_part(driving, reference, part)
        assert found.position.isfinite().all()
        assert found.jacobian.isfinite().all()


def test_the_parts_reach_the_portrait():
    """Head alone turns the portrait's keypoints' Jacobians, face alone leaves them as they were."""
    source, reference = keypoints(1, 4), keypoints(1, 0)
    linear = similarity(0.3, 1.0)
    driving = turned(reference, linear, torch.tensor([0.1, 0.0]))
    head = transfer_motion(source, keep_part(driving, reference, "head"), reference)
    face = transfer_motion(source, keep_part(driving, reference, "face"), reference)
    torch.testing.assert_close(head.jacobian, linear @ source.jacobian, rtol=0, atol=1e-3)
    assert_close(face, source, 1e-3)
