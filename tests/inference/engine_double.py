"""An engine without a network: it moves the portrait as a whole, so that crops and seams show without weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from synhead.data.image import RgbImage
from synhead.types import Keypoints, SourceFeatures

CORNERS = torch.tensor([(0.0, 0.0), (-0.4, -0.4), (0.4, -0.4), (-0.4, 0.4), (0.4, 0.4)])


class ShiftEngine:
    """Keypoints lie around the middle of the picture's dark parts; rendering shifts the portrait as they moved.

    ``tint``: levels added to the rendered picture, as a model with wrong colours would.
    """

    name = "shift"
    precision = "fp32"

    def __init__(self, image_size: int = 64, *, gain: float = 4.0, tint: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.image_size, self.device = image_size, torch.device("cpu")
        self.gain, self.tint = gain, np.array(tint)

    def observe(self, portrait: RgbImage) -> SourceFeatures:
        image = torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        thumbnail = torch.nn.functional.interpolate(image, size=16)
        return SourceFeatures(image, thumbnail, self.keypoints([portrait]), {}, None, None)

    def keypoints(self, frames: Sequence[RgbImage]) -> Keypoints:
        centres = torch.tensor(np.array([_dark_middle(frame) for frame in frames]), dtype=torch.float32)
        return Keypoints(centres[:, None] + CORNERS, torch.eye(2).repeat(len(frames), len(CORNERS), 1, 1))

    def render(self, source: SourceFeatures, driving: Keypoints) -> np.ndarray:
        still = ((source.image[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        moves = self.gain * (driving.position - source.keypoints.position).mean(1).numpy() * self.image_size / 2
        return np.stack([self._moved(still, *move) for move in moves])

    def _moved(self, still: RgbImage, right: float, down: float) -> RgbImage:
        shift = (1, 0, -right, 0, 1, -down)
        room = self.image_size
        padded = Image.fromarray(np.pad(still, ((room, room), (room, room), (0, 0)), mode="edge"))
        moved = padded.transform(padded.size, Image.Transform.AFFINE, shift, Image.Resampling.BICUBIC)
        cut = np.asarray(moved)[room:-room, room:-room].astype(np.int64)
        return (cut + self.tint).clip(0, 255).astype(np.uint8)


def _dark_middle(frame: RgbImage) -> tuple[float, float]:
    weight = 255.0 - frame.mean(axis=2)
    weight = weight * weight + 1e-6
    axis = np.linspace(-1, 1, len(frame))
    return float((weight.sum(0) * axis).sum() / weight.sum()), float((weight.sum(1) * axis).sum() / weight.sum())
