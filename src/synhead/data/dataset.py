"""The front door of training data: a data set's name in, an endless stream of pairs on the device out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from synhead.data.cache import open_store
from synhead.data.clips import open_clips
from synhead.data.config import DataConfig
from synhead.data.face_points import load_points
from synhead.data.pairs import BatchFormat, PairSampler, PairSource, Share
from synhead.data.records import Clip, DataError
from synhead.data.shards import is_shard_pattern, list_shards
from synhead.data.store import FrameStore, Progress, estimate_bytes
from synhead.data.streaming import ShardSampler, StreamSampler

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a set is decoded into memory. ``cache``: folder for decoded frames; ``workers``: threads, one a core.

    ``points``: file of landmarks (:mod:`~synhead.data.face_points`).
    """

    cache: Path | None = None
    points: Path | None = None
    workers: int | None = None
    progress: Progress | None = None


def open_pairs(
    source: str | Path,
    config: DataConfig,
    *,
    seed: int = 0,
    share: Share = Share(),  # noqa: B008  (frozen)
    form: BatchFormat = BatchFormat(),  # noqa: B008  (frozen)
    options: LoadOptions = LoadOptions(),
) -> PairSource:
    """Training pairs of ``source`` (see :func:`~synhead.data.clips.open_clips`), held where ``config`` says.

    Raises:
        DataError: no clips, or none that can be read.
    """
    device = form.device or torch.device("cpu")
    text = str(source)
    if config.placement == "stream" and is_shard_pattern(text) and "://" in text:
        return ShardSampler(list_shards(text), config, seed=seed, share=share, form=form)
    found = open_clips(source, "train")
    for skip in found.skipped:
        _log.warning("skipped %s: %s", skip.name, skip.reason)
    placement = _placement(found.clips, config, device, share)
    _log.info("%d clips (%s), frames kept: %s", len(found), found.layout, placement)
    if placement == "stream":
        if options.points is not None:
            raise DataError("landmarks need the frames in memory: set data.placement=host, or leave --landmarks out")
        return StreamSampler(found.clips, config, seed=seed, share=share, form=form)
    store = _load(found.clips, config.size, options)
    store = store.to(device) if placement == "device" else store
    points = None if options.points is None else load_points(options.points, store)
    return PairSampler(store, config, seed=seed, share=share, form=form, points=points)


def load_validation(source: str | Path, config: DataConfig, options: LoadOptions = LoadOptions()) -> FrameStore:
    """The held-out clips of ``source``, decoded into host memory.

    Raises:
        DataError: no validation split, or no clip of it that can be read.
    """
    return _load(open_clips(source, "val").clips, config.size, options)


def _load(clips: Sequence[Clip], size: int, options: LoadOptions) -> FrameStore:
    store = open_store(clips, size, cache=options.cache, workers=options.workers, progress=options.progress)
    for skip in store.skipped:
        _log.warning("skipped clip %s: %s", skip.name, skip.reason)
    return store


def _placement(clips: Sequence[Clip], config: DataConfig, device: torch.device, share: Share) -> str:
    """``auto`` decided: every rank of this host keeps its own copy in host memory at worst."""
    if config.placement != "auto":
        return config.placement
    needed = estimate_bytes(clips, config.size)
    if device.type == "cuda" and needed <= config.device_share * torch.cuda.get_device_properties(device).total_memory:
        return "device"
    return "host" if needed * share.world_size <= config.host_share * _free_bytes() else "stream"


def _free_bytes() -> int:
    """Host memory that can be taken now."""
    pages = "SC_AVPHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") if pages in os.sysconf_names else 0
