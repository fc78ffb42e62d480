"""Batches of keypoints in a row: taken apart into frames, and put together in batches of another size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch

from synhead.types import Keypoints


def frames_of(motion: Iterable[Keypoints]) -> Iterator[Keypoints]:
    """Every frame alone, with batch 1."""
    for batch in motion:
        for i in range(batch.position.shape[0]):
            yield rows(batch, i, i + 1)


def batches_of(frames: Iterable[Keypoints], size: int) -> Iterator[Keypoints]:
    """``size`` frames of batch 1 at a time; the last batch may be smaller."""
    remaining = iter(frames)
    while batch := list(islice(remaining, size)):
        yield joined(batch)


def joined(parts: Iterable[Keypoints]) -> Keypoints:
    """One batch of all, in order. There must be at least one."""
    found = list(parts)
    return Keypoints(
        position=torch.cat([part.position for part in found]), jacobian=torch.cat([part.jacobian for part in found])
    )


def rows(batch: Keypoints, begin: int, end: int) -> Keypoints:
    """Frames ``begin`` to ``end`` (exclusive), without copying."""
    return Keypoints(position=batch.position[begin:end], jacobian=batch.jacobian[begin:end])
