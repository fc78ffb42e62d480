"""Training pairs out of a frame store, made on the device in whole batches; and fixed validation pairs."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from synhead.data.augment import AugmentPlan, augment, plan_augmentation, to_image
from synhead.data.config import DataConfig
from synhead.data.draws import sample_indices, uniforms
from synhead.data.face_points import move_points
from synhead.data.records import DataError
from synhead.data.sampling import choose_frames, clip_chooser
from synhead.data.store import FrameStore
from synhead.types import NDArray

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Two frames of one clip each, augmented alike, RGB in [-1, 1].

    ``source_points``, ``driving_points``: landmarks where the stream has them, in [-1, 1] from edge to edge, NaN where
    unknown.
    """

    source: Float[Tensor, "b 3 h w"]
    driving: Float[Tensor, "b 3 h w"]
    source_points: Float[Tensor, "b points 2"] | None = None
    driving_points: Float[Tensor, "b points 2"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of each global batch is this process's: ranks take consecutive blocks."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise DataError(f"rank {self.rank} is not one of {self.world_size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFormat:
    """Where and how batches are wanted; ``device`` None: where the frames are."""

    device: torch.device | None = None
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    def apply(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """``image`` in this type and memory layout."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return image.to(self.dtype).contiguous(memory_format=layout)


@runtime_checkable
class PairSource(Protocol):
    """An endless, resumable stream of training pairs."""

    def next_batch(self, batch: int) -> PairBatch:
        """The next ``batch`` pairs of this rank."""

    def state_dict(self) -> dict[str, int]:
        """Position in the stream, the same on every rank."""

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from ``state``; the world size and batch may differ from then."""


class PairSampler:
    """Pairs gathered from ``store`` and augmented on the device, with no synchronisation and no loop over samples.

    Sample number i of the stream (clip, frames, augmentation) depends on ``seed`` and i alone. Each call hands out
    the next world size x batch numbers, this rank's block of them; so a resumed run sees exactly the pairs that the
    unbroken run would have seen, and another world size with the same global batch sees the same pairs.

    A store in host memory is gathered into pinned memory and sent to ``form.device`` as uint8, asynchronously.
    """

    def __init__(
        self,
        store: FrameStore,
        config: DataConfig,
        *,
        seed: int = 0,
        share: Share = Share(),
        form: BatchFormat = BatchFormat(),
        points: Float[Tensor, "n points 2"] | None = None,
    ) -> None:
        self.store = store
        self.points = points
        self.config = config
        self.seed = seed
        self.samples = 0
        self._share = share
        self._form = form
        self._device = form.device or store.frames.device
        self._lengths = store.lengths
        self._chooser = clip_chooser(store.table, config, seed)

    def next_batch(self, batch: int) -> PairBatch:
        """The next ``batch`` pairs of this rank, on its device."""
        index = sample_indices(self.samples, batch, self._share.rank)
        self.samples += batch * self._share.world_size
        uniform = uniforms(self.seed, index)
        clip = self._chooser.choose(index, uniform)
        chosen = choose_frames(self._lengths[clip], uniform, self.config)
        start = self.store.offsets[clip]
        number = np.concatenate([start + chosen.source, start + chosen.driving])
        plan = plan_augmentation(uniform, self.config)
        made = make_pairs(self._gather(number), plan, self._form)
        return made if self.points is None else self._with_points(made, number, plan)

    def _with_points(self, batch: PairBatch, number: Int64[NDArray[np.int64], " n"], plan: AugmentPlan) -> PairBatch:
        assert self.points is not None
        device = batch.source.device
        found = self.points[upload(number, self.points.device)].to(device, non_blocking=True)
        flip = upload(np.tile(plan.flip, 2), device)
        crop = None if plan.crop is None else upload(np.tile(plan.crop, (2, 1, 1)), device)
        source, driving = move_points(found, flip, crop).chunk(2)
        return replace(batch, source_points=source, driving_points=driving)

    def _gather(self, number: Int64[NDArray[np.int64], " n"]) -> UInt8[Tensor, "n h w 3"]:
        frames = self.store.frames
        if frames.device.type != "cpu":
            return frames.index_select(0, upload(number, frames.device))
        pin = self._device.type == "cuda"
        gathered = torch.empty((len(number), *frames.shape[1:]), dtype=torch.uint8, pin_memory=pin)
        torch.index_select(frames, 0, torch.from_numpy(number), out=gathered)
        return gathered.to(self._device, non_blocking=True)

    def state_dict(self) -> dict[str, int]:
        """Position in the stream, seed and a checksum of the clip list; the same on every rank."""
        return {"samples": self.samples, "seed": self.seed, "clips": checksum(self.store.table.names)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from ``state``. Other clips than then are allowed, with a warning: the stream is another one."""
        if state["clips"] != checksum(self.store.table.names):
            _log.warning("the clips are not those of the interrupted run: the stream of pairs changes from here on")
        self.samples, self.seed = state["samples"], state["seed"]
        self._chooser = clip_chooser(self.store.table, self.config, self.seed)


def checksum(names: tuple[str, ...]) -> int:
    """A number that changes with the list of clips."""
    return zlib.crc32("\n".join(names).encode())


def upload(array: NDArray[Any], device: torch.device) -> Tensor:
    """``array`` on ``device``, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def make_pairs(frames: UInt8[Tensor, "n h w 3"], plan: AugmentPlan, form: BatchFormat) -> PairBatch:
    """Augmented pairs from the frames of all sources followed by those of all driving frames (n = 2 b)."""
    device = frames.device

    def both(array: NDArray[Any] | None) -> Tensor | None:
        return None if array is None else upload(np.concatenate([array, array]), device)

    flip = upload(np.concatenate([plan.flip, plan.flip]), device)
    image = form.apply(augment(frames, flip, both(plan.colour), both(plan.crop)))
    source, driving = image.chunk(2)
    return PairBatch(source=source, driving=driving)


def validation_clips(
    store: FrameStore, *, frames_per_clip: int = 10, form: BatchFormat = BatchFormat()
) -> Iterator[tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "f 3 h w"]]]:
    """Each clip's first frame as source; as driving ``frames_per_clip`` others, evenly from the second to the last.

    RGB in [-1, 1], not augmented. The same frames every time. A clip of fewer frames gives those it has.
    """
    for start, end in pairwise(store.offsets.tolist()):
        wanted = np.linspace(start + 1, end - 1, frames_per_clip).round().astype(np.int64)
        number = torch.from_numpy(np.concatenate([[start], np.unique(wanted)]))
        frames = store.frames[number.to(store.frames.device)]
        image = form.apply(to_image(frames.to(form.device or frames.device)))
        yield image[:1], image[1:]
