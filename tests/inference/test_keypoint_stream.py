import pytest
import torch

from synhead.inference.keypoint_stream import batches_of, frames_of, joined, rows
from tests.inference.conftest import keypoints


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_cut_and_joined_again(size):
    whole = keypoints(7, 0)
    batches = list(batches_of(frames_of([rows(whole, 0, 4), rows(whole, 4, 7)]), size))
    assert [len(batch.position) for batch in batches] == [min(size, 7 - i) for i in range(0, 7, size)]
    again = joined(batches)
    assert torch.equal(again.position, whole.position)
    assert torch.equal(again.jacobian, whole.jacobian)


def test_nothing_gives_nothing():
    assert list(batches_of(frames_of([]), 4)) == []


def test_lazy():
    taken = []
    endless = (taken.append(1) or keypoints(2, seed) for seed in range(10**9))
    next(batches_of(frames_of(endless), 4))
    assert len(taken) == 2
