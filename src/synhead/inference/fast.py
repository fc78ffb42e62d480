"""The prepared model behind the Engine interface, on a CPU or a GPU, plain or compiled."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from synhead.data.image import RgbImage
from synhead.geometry.triton_there import has_triton, takes_kernels
from synhead.inference.engine import ModelEngine, Pending, Pixels, Precision, on, true_fp32
from synhead.inference.frame_graph import FrameGraph, from_pixels, source_tensors, to_pixels
from synhead.inference.keypoint_stream import rows
from synhead.inference.prepared import prepare, project_codes
from synhead.inference.replay import Replayed, fill_up
from synhead.model.talking_head import TalkingHead
from synhead.nn.native import Kernels
from synhead.types import Keypoints, SourceFeatures

_log = logging.getLogger(__name__)


class FastEngine(ModelEngine):
    """Codes projected once, the source cached in the layout that a frame reads it in, weights prepared.

    A CPU renders one frame at a time, which keeps its caches warm. A GPU renders the batch it is given, recorded as a
    CUDA graph at the first batch of a size; smaller ones are filled up. In half precision it draws by Triton kernels.
    ``compiled``: one static graph by TorchInductor instead, for the largest batch so far.
    """

    def __init__(
        self,
        model: TalkingHead,
        *,
        precision: Precision = "fp32",
        compiled: bool = False,
        kernels: Kernels | None = None,
    ) -> None:
        super().__init__(model, precision)
        self._kernels = kernels
        half = precision == "bf16"
        self._dtype = torch.bfloat16 if half and kernels is None else torch.float32  # the kernels read float32
        fused = half and not compiled and takes_kernels(self._device)
        prepared = prepare(model, half=half, kernels=kernels, fused=fused)
        self._detector = prepared.keypoint_detector
        self._graph = FrameGraph(prepared, project_codes(model, self._dtype, padded=fused))
        self.compiled = compiled and can_compile(self._device)
        self._draw: Callable[..., Tensor] = _compile(self._pixels, self._device) if compiled else self._pixels
        self._largest = 1
        self._sender: torch.cuda.Stream | None = None
        self._replayed: Replayed | None = None
        self._located: Replayed | None = None
        if self._device.type == "cuda":
            self._sender = torch.cuda.Stream(self._device)
            with on(self._device):
                self._located = Replayed(self._points, batched=1)
                self._replayed = None if self.compiled else Replayed(self._drawn, batched=2)

    @property
    def name(self) -> str:
        """See Engine."""
        if self.compiled:
            return "compiled"
        return "prepared" if self._kernels is None else "native"

    def observe(self, portrait: RgbImage) -> SourceFeatures:
        """See Engine. Computed in float32, kept as frames read it."""
        with on(self._device), torch.inference_mode(), true_fp32():
            image = from_pixels(self._upload([portrait]))
            features = {
                scale: feature.to(self._dtype).contiguous(memory_format=torch.channels_last)
                for scale, feature in self.model.encoder(image).features.items()
            }
            return SourceFeatures(
                image=image,
                thumbnail=self.model.coarse_motion.downscale(image),
                keypoints=self._detector(image),
                features=features,
                motion_memory=self._graph.memories.motion,
                appearance_memory=self._graph.memories.appearance,
            )

    def keypoints(self, frames: Sequence[RgbImage]) -> Keypoints:
        """See Engine."""
        with on(self._device), torch.inference_mode(), self._convolutions():
            return self.locate(self._upload(frames))

    def locate(self, frames: UInt8[Tensor, "b h w 3"]) -> Keypoints:
        """``keypoints`` of pictures that are on the device already."""
        position, jacobian = (self._located or self._points)(frames)
        return Keypoints(position=position, jacobian=jacobian)

    def _points(self, frames: UInt8[Tensor, "b h w 3"]) -> tuple[Tensor, ...]:
        found: Keypoints = self._detector(from_pixels(frames))
        return found.position, found.jacobian

    def render(self, source: SourceFeatures, driving: Keypoints) -> Pixels:
        """See Engine."""
        return self.submit(source, driving).result()

    def submit(self, source: SourceFeatures, driving: Keypoints) -> Pending:
        """``render`` without waiting: on a GPU the next batch may be prepared, or the last one encoded, meanwhile."""
        with self.running():
            pixels = self.draw(source, driving)
            if self._sender is None:
                return Pending(pixels, None)
            return self._send(pixels)

    def draw(self, source: SourceFeatures, driving: Keypoints) -> UInt8[Tensor, "b h w 3"]:
        """The pictures, left on the device."""
        count = driving.position.shape[0]
        step = 1 if self._device.type == "cpu" else count
        parts = [self._draw_part(source, rows(driving, start, start + step)) for start in range(0, count, step)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _draw_part(self, source: SourceFeatures, driving: Keypoints) -> Tensor:
        tensors = source_tensors(source, self.model.config)
        if self._replayed is not None:
            return self._replayed(driving.position, driving.jacobian, *tensors)[0]
        if not self.compiled:
            return self._draw(driving.position, driving.jacobian, tensors)
        count = driving.position.shape[0]
        self._largest = max(self._largest, count)
        position, jacobian = (fill_up(part, self._largest) for part in (driving.position, driving.jacobian))
        if self._device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        return self._draw(position, jacobian, tensors)[:count].clone()  # the graph's own output is overwritten

    def _pixels(self, position: Tensor, jacobian: Tensor, source: tuple[Tensor, ...]) -> Tensor:
        return to_pixels(self._graph(position, jacobian, source))

    def _drawn(self, position: Tensor, jacobian: Tensor, *source: Tensor) -> tuple[Tensor, ...]:
        return (self._pixels(position, jacobian, source),)

    @property
    def drawing_model(self) -> TalkingHead:
        """The prepared modules."""
        return self._graph.model

    def running(self) -> AbstractContextManager[object]:
        """The modes that :meth:`draw` and :meth:`locate` are to be called in: no gradients, this precision."""
        stack = ExitStack()
        stack.enter_context(on(self._device))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(self._convolutions())
        stack.enter_context(torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._precision == "bf16"))
        return stack

    def _convolutions(self) -> AbstractContextManager[None]:
        """In bf16 what is left in float32 goes by TF32: it moves the keypoints of ``weights/base`` by 0.002 px."""
        return true_fp32() if self._precision == "fp32" else nullcontext()

    def _upload(self, images: Sequence[RgbImage]) -> UInt8[Tensor, "b h w 3"]:
        batch = torch.from_numpy(np.stack(images))
        return batch if self._sender is None else batch.pin_memory().to(self._device, non_blocking=True)

    def _send(self, pixels: Tensor) -> Pending:
        """To pinned memory on a stream of its own, behind the drawing."""
        assert self._sender is not None
        host = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
        self._sender.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._sender):
            host.copy_(pixels, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        pixels.record_stream(self._sender)
        return Pending(host, arrived)


def can_compile(device: torch.device) -> bool:
    """Whether TorchInductor has its compiler: Triton on a GPU, a C++ compiler on a CPU."""
    if device.type == "cuda":
        return has_triton()
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def _compile(function: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    if not can_compile(device):
        _log.warning("no compiler for %s (Triton on a GPU, g++ on a CPU): running uncompiled", device)
        return function
    if device.type == "cpu":
        _log.warning("compiling for the CPU: the first frame waits for minutes; the prepared engine starts at once")
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    compiled: Callable[..., Tensor] = torch.compile(function, dynamic=False, fullgraph=True, mode=mode)
    return compiled
