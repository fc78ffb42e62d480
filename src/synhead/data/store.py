"""Every frame of a set of clips, decoded once into one tensor in host or device memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from synhead.data.decode import CLIP_ERRORS, count_frames, decode_clip
from synhead.data.records import Clip, DataError, Skipped
from synhead.data.sampling import ClipTable
from synhead.types import NDArray

Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all)."""

_COPY_FRAMES = 1024
_PROBES = 32


@dataclass(frozen=True, slots=True)
class FrameStore:
    """Frames of clip i are ``frames[offsets[i] : offsets[i + 1]]``. ``skipped``: clips that could not be read."""

    frames: UInt8[Tensor, "n h w 3"]
    offsets: Int64[NDArray[np.int64], " bounds"]
    table: ClipTable
    skipped: tuple[Skipped, ...] = ()

    @property
    def lengths(self) -> Int64[NDArray[np.int64], " clips"]:
        """Frames of each clip."""
        return np.diff(self.offsets)

    @property
    def bytes(self) -> int:
        """Memory that the frames take."""
        return self.frames.numel()

    def to(self, device: torch.device | str) -> FrameStore:
        """The store with its frames on ``device``, copied in pieces (a memory-mapped store is read only once)."""
        device = torch.device(device)
        if self.frames.device == device:
            return self
        frames = torch.empty_like(self.frames, device=device)
        for start in range(0, len(frames), _COPY_FRAMES):
            frames[start : start + _COPY_FRAMES].copy_(self.frames[start : start + _COPY_FRAMES])
        return replace(self, frames=frames)


def build_store(
    clips: Sequence[Clip], size: int, *, workers: int | None = None, progress: Progress | None = None
) -> FrameStore:
    """Decode ``clips`` to ``size`` x ``size`` on ``workers`` threads (default: one a core; decoding releases the GIL).

    Unreadable clips are listed in ``skipped``. Peak memory is one copy of the frames.

    Raises:
        DataError: no clip could be decoded.
    """
    decoded: list[UInt8[NDArray[np.uint8], "n h w 3"]] = []
    kept: list[Clip] = []
    skipped: list[Skipped] = []
    for clip, result in _decode_all(clips, size, workers or os.cpu_count() or 1):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            kept.append(clip)
            decoded.append(result)
        if progress is not None:
            progress(len(kept) + len(skipped), len(clips))
    if not kept:
        why = f"; the first, {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"none of {len(clips)} clips can be decoded{why}")
    offsets = np.cumsum([0, *map(len, decoded)], dtype=np.int64)
    return FrameStore(torch.from_numpy(_join(decoded, size)), offsets, ClipTable.of(kept), tuple(skipped))


def _join(decoded: list[UInt8[NDArray[np.uint8], "_ h w 3"]], size: int) -> UInt8[NDArray[np.uint8], "n h w 3"]:
    """One array of all clips; each clip's own array is freed as soon as it is copied."""
    joined = np.empty((sum(map(len, decoded)), size, size, 3), dtype=np.uint8)
    decoded.reverse()
    end = 0
    while decoded:
        frames = decoded.pop()
        joined[end : end + len(frames)] = frames
        end += len(frames)
    return joined


def _decode_all(
    clips: Sequence[Clip], size: int, workers: int
) -> Iterator[tuple[Clip, UInt8[NDArray[np.uint8], "n h w 3"] | Skipped]]:
    """Clips in their order, a few ahead of the caller."""
    waiting: deque[tuple[Clip, Future[UInt8[NDArray[np.uint8], "n h w 3"] | Skipped]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for clip in clips:
                waiting.append((clip, pool.submit(_decode_or_skip, clip, size)))
                if len(waiting) > 4 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _decode_or_skip(clip: Clip, size: int) -> UInt8[NDArray[np.uint8], "n h w 3"] | Skipped:
    try:
        return decode_clip(clip, size)
    except CLIP_ERRORS as error:
        return Skipped.because(clip, error)


def estimate_bytes(clips: Sequence[Clip], size: int) -> int:
    """Memory that a store of ``clips`` would take, from the frame counts of some clips spread over the set."""
    counts: list[int] = []
    for i in np.linspace(0, len(clips) - 1, min(_PROBES, len(clips))).astype(int):
        try:
            counts.append(count_frames(clips[i]))
        except CLIP_ERRORS:
            continue
    return int(np.mean(counts) * len(clips) * size * size * 3) if counts else 0
