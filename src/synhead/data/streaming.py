"""Pairs of sets that do not fit in memory: decoded for each pair by worker processes, augmented on the device.

:class:`StreamSampler` draws any clip at any time (local files, local shards) and gives the same stream as
:class:`~synhead.data.pairs.PairSampler`; :class:`ShardSampler` reads shards from front to back (URLs).
"""

from __future__ import annotations

import itertools
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from synhead.data.augment import plan_augmentation
from synhead.data.config import DataConfig
from synhead.data.decode import CLIP_ERRORS, count_frames, decode_clip, decode_frames
from synhead.data.draws import Draw, sample_indices, uniforms
from synhead.data.pairs import BatchFormat, PairBatch, Share, checksum, make_pairs
from synhead.data.records import Clip, DataError, Skipped
from synhead.data.sampling import ClipTable, choose_frames, clip_chooser
from synhead.data.shards import stream_shard
from synhead.types import NDArray

_log = logging.getLogger(__name__)

SourceT = TypeVar("SourceT", Clip, str)

_ATTEMPTS = 20
_TIMEOUT_S = 300.0
_PREFETCH = 4


@dataclass(frozen=True, slots=True)
class _Sample:
    """A decoded pair on its way from a worker, with the numbers that decide its augmentation."""

    frames: UInt8[NDArray[np.uint8], "2 h w 3"]
    uniform: Float64[NDArray[np.float64], " draws"]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class _Batch:
    """``frames``: all sources, then all driving frames."""

    frames: Tensor
    uniform: Tensor
    skipped: tuple[Skipped, ...]

    def pin_memory(self) -> _Batch:
        """What the loader calls when it pins batches."""
        return _Batch(self.frames.pin_memory(), self.uniform, self.skipped)


def _collate(samples: Sequence[_Sample]) -> _Batch:
    frames = np.stack([sample.frames[i] for i in (0, 1) for sample in samples])
    uniform = np.stack([sample.uniform for sample in samples])
    skipped = tuple(skip for sample in samples for skip in sample.skipped)
    return _Batch(torch.from_numpy(frames), torch.from_numpy(uniform), skipped)


class _PairDataset(Dataset[_Sample]):
    """Map from a sample's number to its decoded pair: a pure function, run in any worker."""

    def __init__(self, clips: Sequence[Clip], config: DataConfig, seed: int) -> None:
        self._clips, self._config, self._seed = clips, config, seed
        self._chooser = clip_chooser(ClipTable.of(clips), config, seed)

    def __getitem__(self, number: int) -> _Sample:
        """The pair; where its clip cannot be read, any other clip of the set is drawn, again from the number."""
        skipped: list[Skipped] = []
        index = np.array([number], dtype=np.uint64)
        for attempt in range(_ATTEMPTS):
            uniform = uniforms(self._seed, index, attempt=attempt)
            if attempt == 0:
                clip = self._clips[int(self._chooser.choose(index, uniform)[0])]
            else:
                clip = self._clips[int(uniform[0, Draw.CLIP] * len(self._clips))]
            try:
                return _Sample(_decode_pair(clip, uniform, self._config), uniform[0], tuple(skipped))
            except CLIP_ERRORS as error:
                skipped.append(Skipped.because(clip, error))
        raise DataError(
            f"{_ATTEMPTS} clips in a row cannot be read, the last: {skipped[-1].name}: {skipped[-1].reason}"
        )


def _decode_pair(
    clip: Clip, uniform: Float64[NDArray[np.float64], "1 draws"], config: DataConfig
) -> UInt8[NDArray[np.uint8], "2 h w 3"]:
    count = count_frames(clip)
    if count < 2:
        raise DataError(f"{count} frame(s); a clip needs two")
    chosen = choose_frames(np.array([count]), uniform, config)
    return decode_frames(clip, (int(chosen.source[0]), int(chosen.driving[0])), config.size)


class _ShardDataset(IterableDataset[_Sample]):
    """Endless pairs of shards read from front to back, each pass in another order, through a shuffle buffer.

    Shards are dealt to the workers of all ranks; with fewer shards than workers, each reads all and keeps its clips.
    """

    def __init__(self, shards: Sequence[str], config: DataConfig, *, seed: int, share: Share, start: int) -> None:
        self._shards, self._config, self._seed, self._share, self._start = tuple(shards), config, seed, share, start
        self.buffer = 512
        self.pairs_per_clip = 4

    def __iter__(self) -> Iterator[_Sample]:
        worker = get_worker_info()
        workers, here = (worker.num_workers, worker.id) if worker else (1, 0)
        consumer, consumers = self._share.rank * workers + here, self._share.world_size * workers
        generator = np.random.default_rng([self._seed % 2**63, self._start, consumer])
        waiting: list[_Sample] = []
        for sample in self._pairs(generator, consumer, consumers):
            if len(waiting) < self.buffer:
                waiting.append(sample)
                continue
            place = int(generator.integers(self.buffer))
            waiting[place], sample = sample, waiting[place]  # noqa: PLW2901  (swapped with one that waited)
            yield sample

    def _pairs(self, generator: np.random.Generator, consumer: int, consumers: int) -> Iterator[_Sample]:
        """A pass over this worker's share after another; one that gives nothing is followed by one over all shards, so
        that the run goes on as long as anything can be read, and others hear what could not.
        """
        skipped: list[Skipped] = []
        alone = False
        for number in itertools.count():
            found = False
            place = (0, 1) if alone else (consumer, consumers)
            for clip in self._clips((number, consumer) if alone else (number,), *place, skipped):
                try:
                    frames = decode_clip(clip, self._config.size)
                except CLIP_ERRORS as error:
                    skipped.append(Skipped.because(clip, error))
                    continue
                found = True
                uniform = generator.random((self.pairs_per_clip, len(Draw)))
                chosen = choose_frames(np.full(len(uniform), len(frames)), uniform, self._config)
                for row, pair in zip(uniform, np.stack([chosen.source, chosen.driving], axis=1), strict=True):
                    yield _Sample(frames[pair], row, tuple(skipped))
                    skipped.clear()
            if alone and not found:
                why = f"; the first, {skipped[0].name}: {skipped[0].reason}" if skipped else ""
                raise DataError(f"no clip can be read from any of {len(self._shards)} shards{why}")
            alone = not found

    def _clips(self, order: tuple[int, ...], consumer: int, consumers: int, skipped: list[Skipped]) -> Iterator[Clip]:
        """``order``: numbers on which the order of the shards depends, besides the seed."""
        shards = np.random.default_rng([self._seed % 2**63, self._start, *order]).permutation(len(self._shards))
        dealt = len(shards) >= consumers
        clips = (
            clip for i in (shards[consumer::consumers] if dealt else shards) for clip in self._shard(int(i), skipped)
        )
        return clips if dealt else itertools.islice(clips, consumer, None, consumers)

    def _shard(self, i: int, skipped: list[Skipped]) -> Iterator[Clip]:
        return stream_shard(self._shards[i], skipped)


class _LoaderSampler(ABC, Generic[SourceT]):
    """What both streams share: a loader with workers, started at the first batch, and its errors in plain words."""

    def __init__(
        self,
        sources: Sequence[SourceT],
        config: DataConfig,
        *,
        seed: int = 0,
        share: Share = Share(),  # noqa: B008  (frozen)
        form: BatchFormat = BatchFormat(),  # noqa: B008  (frozen)
    ) -> None:
        self._sources: tuple[SourceT, ...] = tuple(sources)
        self.config = config
        self.seed = seed
        self.samples = 0
        self.skipped: Counter[Skipped] = Counter()
        """Clips that could not be read, and how often each was met."""
        self._share, self._form = share, form
        self._device = form.device or torch.device("cpu")
        self._batches: Iterator[_Batch] | None = None
        self._batch = 0

    @abstractmethod
    def _start(self, batch: int) -> Iterator[_Batch]: ...

    def _loader_options(self) -> dict[str, Any]:
        workers = self.config.stream_workers
        options: dict[str, Any] = {"num_workers": workers, "collate_fn": _collate}
        if workers:
            options |= {"prefetch_factor": _PREFETCH, "timeout": _TIMEOUT_S}
        return options | {"pin_memory": self._device.type == "cuda"}

    def next_batch(self, batch: int) -> PairBatch:
        """The next ``batch`` pairs of this rank. Another ``batch`` than before starts the workers anew.

        Raises:
            DataError: a worker was killed or hangs, or too many clips in a row cannot be read.
        """
        if self._batches is None or batch != self._batch:
            self._batches, self._batch = self._start(batch), batch
        try:
            loaded = next(self._batches)
        except (RuntimeError, ConnectionError) as error:  # the latter: it died while handing a tensor over
            self._batches = None
            if isinstance(error, RuntimeError) and "DataLoader" not in str(error):
                raise
            raise DataError(
                f"a data worker died or hangs ({error}); it was killed, most likely for memory: lower "
                "data.stream_workers, or look for bad storage; resume from the last checkpoint"
            ) from error
        self.samples += batch * self._share.world_size
        for skip in loaded.skipped:
            if skip not in self.skipped:
                _log.warning("skipped %s: %s", skip.name, skip.reason)
            self.skipped[skip] += 1
        plan = plan_augmentation(loaded.uniform.numpy(), self.config)
        return make_pairs(loaded.frames.to(self._device, non_blocking=True), plan, self._form)

    def state_dict(self) -> dict[str, int]:
        """Position in the stream; the same on every rank."""
        return {"samples": self.samples, "seed": self.seed, "clips": self._checksum()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from ``state``, at the next batch."""
        self.samples, self.seed = state["samples"], state["seed"]
        self._batches = None

    @abstractmethod
    def _checksum(self) -> int: ...


class StreamSampler(_LoaderSampler[Clip]):
    """The stream of :class:`~synhead.data.pairs.PairSampler` with each pair decoded when it is due.

    Unreadable clips are replaced, a pure function of the sample's number, and counted in ``skipped``.
    """

    def _start(self, batch: int) -> Iterator[_Batch]:
        step, rank = batch * self._share.world_size, self._share.rank
        numbers = (sample_indices(start, batch, rank).tolist() for start in itertools.count(self.samples, step))
        dataset = _PairDataset(self._sources, self.config, self.seed)
        return iter(DataLoader(dataset, batch_sampler=numbers, **self._loader_options()))

    def _checksum(self) -> int:
        return checksum(tuple(clip.name for clip in self._sources))


class ShardSampler(_LoaderSampler[str]):
    """Pairs of tar shards read from front to back, for sets behind URLs that no memory holds.

    Every clip gives the same number of pairs (no balance by person). A resumed run starts a new pass in an order that
    depends on where it stopped: deterministic, but not the pairs that the unbroken run would have seen.
    """

    def _start(self, batch: int) -> Iterator[_Batch]:
        dataset = _ShardDataset(self._sources, self.config, seed=self.seed, share=self._share, start=self.samples)
        return iter(DataLoader(dataset, batch_size=batch, drop_last=True, **self._loader_options()))

    def _checksum(self) -> int:
        return checksum(self._sources)
