"""Keypoints and Jacobians smoothed over time: causal for live use, with lookahead for files.

Both filters work on frames, not seconds, and return as many frames as they are given. A still clip comes out bit for
bit, because a frame is only ever moved by its differences from others. Jacobians are averaged entry by entry: between
neighbouring frames they differ little.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from synhead.config import ConfigError
from synhead.inference.keypoint_stream import frames_of
from synhead.types import Keypoints

MAX_FRAMES = 30.0
EXTENT = 0.2
"""How far from a keypoint its Jacobian is felt, in units of the frame: weighs its change against a displacement."""
SPEED_HALVING = 0.01
"""Speed in units a frame (1.3 px of 256) at which the causal filter's lag is half of that at rest."""
SPEED_SHARE = 0.2
"""Share of a new speed in the filtered one, so that noise alone does not open the filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """``lookahead``: a Gaussian of ``frames`` frames (standard deviation) centred on each frame, no lag, three times
    as many frames read ahead. ``causal``: a one-euro filter that lags by at most ``frames`` frames, less in motion.
    """

    mode: Literal["causal", "lookahead"] = "lookahead"
    frames: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in ("causal", "lookahead"):
            raise ConfigError(f"smoothing mode {self.mode!r} must be 'causal' or 'lookahead'")
        if not 0 < self.frames <= MAX_FRAMES:
            raise ConfigError(f"smoothing over {self.frames} frames must be above 0 and at most {MAX_FRAMES:g}")

    @property
    def radius(self) -> int:
        """Frames read ahead."""
        return math.ceil(3 * self.frames) if self.mode == "lookahead" else 0


def smooth(motion: Iterable[Keypoints], smoothing: Smoothing) -> Iterator[Keypoints]:
    """The same frames, smoothed, one at a time (batch 1); ``smoothing.radius`` frames are read ahead."""
    packed = (_pack(frame) for frame in frames_of(motion))
    filtered = _gaussian(packed, smoothing) if smoothing.mode == "lookahead" else _one_euro(packed, smoothing)
    return (_unpack(frame) for frame in filtered)


def _gaussian(frames: Iterator[Tensor], smoothing: Smoothing) -> Iterator[Tensor]:
    radius = smoothing.radius
    held: deque[Tensor] = deque(maxlen=2 * radius + 1)
    unsent = 0
    for frame in frames:
        held.append(frame)
        unsent += 1
        if unsent > radius:
            unsent -= 1
            yield _centred_mean(held, len(held) - 1 - radius, smoothing)
    for centre in range(len(held) - unsent, len(held)):
        yield _centred_mean(held, centre, smoothing)


def _centred_mean(held: deque[Tensor], centre: int, smoothing: Smoothing) -> Tensor:
    """Near both ends the window shrinks on both sides, so that a steady movement is neither delayed nor bent."""
    radius = min(smoothing.radius, centre, len(held) - 1 - centre)
    around = torch.stack([held[i] for i in range(centre - radius, centre + radius + 1)])
    offsets = torch.arange(-radius, radius + 1, device=around.device, dtype=around.dtype)
    weights = torch.exp(-((offsets / smoothing.frames) ** 2) / 2)
    here = held[centre]
    return here + torch.einsum("n,nki->ki", weights / weights.sum(), around - here)


def _one_euro(frames: Iterator[Tensor], smoothing: Smoothing) -> Iterator[Tensor]:
    """Casiez, Roussel, Vogel 2012, in units of frames, with one speed for all six numbers of a keypoint."""
    before = next(frames, None)
    if before is None:
        return
    state, velocity = before, torch.zeros_like(before)
    yield state
    for frame in frames:
        velocity = velocity + SPEED_SHARE * (frame - before - velocity)
        speed = torch.hypot(velocity[:, :2].norm(dim=1), EXTENT * velocity[:, 2:].norm(dim=1))
        lag = smoothing.frames / (1 + speed[:, None] / SPEED_HALVING)
        state = state + (frame - state) / (1 + lag)
        before = frame
        yield state


def _pack(frame: Keypoints) -> Float[Tensor, "k 6"]:
    return torch.cat([frame.position[0], frame.jacobian[0].flatten(1)], dim=1)


def _unpack(packed: Float[Tensor, "k 6"]) -> Keypoints:
    return Keypoints(position=packed[None, :, :2], jacobian=packed[None, :, 2:].unflatten(-1, (2, 2)))
