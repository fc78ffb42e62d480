"""The model as a machine for pictures: 8-bit squares in, 8-bit squares out, on one device in one precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8

from synhead.data.image import RgbImage
from synhead.inference.frame_graph import from_pixels, to_pixels
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints, NDArray, SourceFeatures

Precision = Literal["fp32", "bf16"]

Pixels = UInt8[NDArray[np.uint8], "b h w 3"]


@runtime_checkable
class Engine(Protocol):
    """What an Animator needs of a model. Pictures are squares of ``image_size`` pixels, RGB, 0 to 255."""

    @property
    def name(self) -> str:
        """What it is called, see engines."""

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


@dataclass(frozen=True, slots=True)
class Pending:
    """Pictures that a GPU may still be making, or sending."""

    pixels: UInt8[torch.Tensor, "b h w 3"]
    arrived: torch.cuda.Event | None

    def result(self) -> Pixels:
        """Waits for them."""
        if self.arrived is not None:
            self.arrived.synchronize()
        array: Pixels = self.pixels.numpy()
        return array


@runtime_checkable
class OverlappingEngine(Engine, Protocol):
    """An engine that can draw while the processor does something else."""

    def submit(self, source: SourceFeatures, driving: Keypoints) -> Pending:
        """``render`` without waiting."""


class ModelEngine:
    """What engines know of the model that they run."""

    def __init__(self, model: TalkingHead, precision: Precision) -> None:
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


class EagerEngine(ModelEngine):
    """The plain modules, run as they are written: the yardstick of every faster engine."""

    def __init__(self, model: TalkingHead, *, precision: Precision = "fp32") -> None:
        super().__init__(model, precision)

    @property
    def name(self) -> str:
        """See Engine."""
        return "eager"

    def observe(self, portrait: RgbImage) -> SourceFeatures:
        """See Engine. In float32: once a portrait, so that speed is no reason to round."""
        with on(self._device), torch.inference_mode(), true_fp32():
            return self.model.observe(from_pixels(self._upload([portrait])))

    def keypoints(self, frames: Sequence[RgbImage]) -> Keypoints:
        """See Engine."""
        with on(self._device), torch.inference_mode(), true_fp32():
            found: Keypoints = self.model.keypoint_detector(from_pixels(self._upload(frames)))
            return found

    def render(self, source: SourceFeatures, driving: Keypoints) -> UInt8[NDArray[np.uint8], "b h w 3"]:
        """See Engine."""
        with on(self._device), torch.inference_mode(), true_fp32(), self._autocast():
            array: NDArray[np.uint8] = to_pixels(self.model.animate(source, driving).image).cpu().numpy()
        return array

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision == "bf16":
            return torch.autocast(self._device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _upload(self, images: Sequence[RgbImage]) -> UInt8[torch.Tensor, "b h w 3"]:
        return torch.from_numpy(np.stack(images)).to(self._device)


def on(device: torch.device) -> AbstractContextManager[object]:
    """That GPU as the current one, on which kernels are launched: it need not be the first. Nothing for a CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def true_fp32() -> AbstractContextManager[None]:
    """Float32 convolutions without TF32's 10-bit mantissa, which PyTorch allows on GPUs unless told not to."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    )
