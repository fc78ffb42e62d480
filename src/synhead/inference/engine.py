"""The model as a machine for pictures: 8-bit squares in, 8-bit squares out, on one device in one precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from synhead.data.image import RgbImage
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints, NDArray, SourceFeatures

__all__ = ["EagerEngine", "Engine", "Precision"]

Precision = Literal["fp32", "bf16"]


class Engine(Protocol):
    """What an Animator needs of a model. Pictures are squares of ``image_size`` pixels, RGB, 0 to 255."""

    @property
    def image_size(self) -> int:
        """Side of all pictures in pixels."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def precision(self) -> Precision:
        """Of convolutions and matrix products; coordinates are always float32."""

    def observe(self, portrait: RgbImage) -> SourceFeatures:
        """Everything that depends on the portrait alone."""

    def keypoints(self, frames: Sequence[RgbImage]) -> Keypoints:
        """Keypoints of each driving frame, float32 at any precision: rounding them would jitter."""

    def render(self, source: SourceFeatures, driving: Keypoints) -> UInt8[NDArray[np.uint8], "b h w 3"]:
        """The portrait with these keypoints, one picture each."""


class EagerEngine:
    """The plain modules, run as they are written: the yardstick of every faster engine."""

    def __init__(self, model: TalkingHead, *, precision: Precision = "fp32") -> None:
        self.model = model.eval()
        self._precision: Precision = precision
        self._device = next(model.parameters()).device

    @property
    def image_size(self) -> int:
        """See Engine."""
        return self.model.config.image_size

    @property
    def device(self) -> torch.device:
        """See Engine."""
        return self._device

    @property
    def precision(self) -> Precision:
        """See Engine."""
        return self._precision

    def observe(self, portrait: RgbImage) -> SourceFeatures:
        """See Engine. In float32: once a portrait, so that speed is no reason to round."""
        with torch.inference_mode():
            return self.model.observe(self._tensor([portrait]))

    def keypoints(self, frames: Sequence[RgbImage]) -> Keypoints:
        """See Engine."""
        with torch.inference_mode():
            found: Keypoints = self.model.keypoint_detector(self._tensor(frames))
            return found

    def render(self, source: SourceFeatures, driving: Keypoints) -> UInt8[NDArray[np.uint8], "b h w 3"]:
        """See Engine; spec E: clamped, rounded half to even."""
        with torch.inference_mode(), self._autocast():
            image = self.model.animate(source, driving).image
            pixels = ((image.float().clamp(-1, 1) + 1) / 2 * 255).round().to(torch.uint8)
            array: NDArray[np.uint8] = rearrange(pixels, "b rgb h w -> b h w rgb").cpu().numpy()
        return array

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision == "bf16":
            return torch.autocast(self._device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _tensor(self, images: Sequence[RgbImage]) -> Float[Tensor, "b 3 H W"]:
        batch = torch.from_numpy(np.stack(images)).to(self._device)
        return rearrange(batch, "b h w rgb -> b rgb h w").float() / 127.5 - 1
