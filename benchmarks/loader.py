"""Pairs per second of the training loader alone: sampling, gather and augmentation, frames in memory or streamed.

    python benchmarks/loader.py                          # synthetic frames, on the GPU if there is one
    python benchmarks/loader.py --data CLIPS --cache DIR # real clips; prints the decoding rate as well

The trainer needs half of what this prints: its loader must be twice as fast as the model (500 samples/s for `base`).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from synhead.data.cache import open_store
from synhead.data.clips import open_clips
from synhead.data.config import ColourJitter, CropJitter, DataConfig
from synhead.data.pairs import BatchFormat, PairSampler, PairSource
from synhead.data.sampling import ClipTable
from synhead.data.store import FrameStore
from synhead.data.streaming import StreamSampler

PUBLISHED = DataConfig()
FULL = DataConfig(
    sampling="balanced",
    far_probability=0.3,
    colour=ColourJitter(probability=0.8),
    crop=CropJitter(probability=0.8, rotation_deg=5.0),
)


def synthetic_store(frames: int, size: int) -> FrameStore:
    """Noise in clips of 60 frames, two of each person."""
    clips = max(2, frames // 60)
    table = ClipTable(
        names=tuple(f"{i:05d}" for i in range(clips)),
        people=tuple(f"p{i:05d}" for i in range((clips + 1) // 2)),
        person=np.arange(clips, dtype=np.int64) // 2,
        generated=np.zeros(clips, dtype=np.bool_),
    )
    pixels = torch.randint(0, 256, (clips * 60, size, size, 3), dtype=torch.uint8)
    return FrameStore(pixels, np.arange(clips + 1, dtype=np.int64) * 60, table)


def decoded_store(data: str, cache: Path | None, workers: int) -> FrameStore:
    """The train split of ``data``, with the time that decoding took."""
    clips = open_clips(data, "train").clips
    start, cpu = time.perf_counter(), time.process_time()
    store = open_store(clips, PUBLISHED.size, cache=cache, workers=workers)
    seconds = time.perf_counter() - start
    print(
        f"{len(clips)} clips, {len(store.frames)} frames, {store.bytes / 1e9:.2f} GB in {seconds:.1f} s on {workers} "
        f"threads: {len(clips) / seconds:.1f} clips/s, {len(store.frames) / seconds:.0f} frames/s; "
        f"{len(store.skipped)} skipped; {time.process_time() - cpu:.1f} CPU seconds"
    )
    return store


def rate_of(pairs: PairSource, batch: int, seconds: float) -> str:
    """Pairs a second after a warm-up of five batches, the device waited for at the end; and a second of CPU time.

    The second figure holds on a busy machine too, but leaves out decoding workers, which are processes of their own.
    """
    for _ in range(5):
        pairs.next_batch(batch)
    _wait()
    start, cpu, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds or done == 0:
        pairs.next_batch(batch)
        done += batch
        if done % (50 * batch) == 0:
            _wait()
    _wait()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return f"{done / wall:.0f} pairs/s, {done / cpu:.0f} a CPU second"


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Print one line for each way of feeding the trainer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", help="clips as for `synhead train` (default: synthetic frames)")
    parser.add_argument("--cache", type=Path, help="folder for decoded frames")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frames", type=int, default=6000, help="frames of the synthetic set")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--stream", action="store_true", help="measure decoding for each pair as well; needs --data")
    options = parser.parse_args()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    print(f"device: {name}; batch {options.batch}; {PUBLISHED.size} x {PUBLISHED.size}")
    if options.data:
        store = decoded_store(options.data, options.cache, options.workers)
    else:
        store = synthetic_store(options.frames, PUBLISHED.size)
    form = BatchFormat(device=device, channels_last=True)
    resident = store.to(device)
    for recipe, config in (("published recipe", PUBLISHED), ("all augmentation", FULL)):
        where = {f"frames on {device.type}": resident}
        if device.type != "cpu":
            where["frames in host memory"] = store
        for place, frames in where.items():
            rate = rate_of(PairSampler(frames, config, form=form), options.batch, options.seconds)
            print(f"{recipe}, {place}: {rate}")
    if options.stream and options.data:
        config = DataConfig(stream_workers=options.workers)
        stream = StreamSampler(open_clips(options.data, "train").clips, config, form=form)
        rate = rate_of(stream, options.batch, options.seconds)
        print(f"published recipe, decoded for each pair by {options.workers} workers: {rate}")


if __name__ == "__main__":
    main()
