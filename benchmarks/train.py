"""Training speed: samples/s, peak memory and the share of the bf16 floor, of several configurations in one call.

    python benchmarks/train.py --preset paper base --batch 16 32 --compile off default --out report
    torchrun --nproc-per-node 2 benchmarks/train.py --preset base --batch 32
    python benchmarks/train.py --preset tiny --batch 2 --steps 2 --windows 2 --precision fp32     (on a CPU)

Every combination of --preset (PRESET or PRESET:ABLATION), --batch, --compile, --graphs, --precision and --adversarial
is run on random frames that live on the device, with all losses on (random-weight VGG19: its speed is that of the
trained one). The floor is the time that the counted arithmetic (FlopCounterMode, multiply and add as two) would take at
--tflops, by default 790 TFLOP/s: what a large bf16 matrix product reaches on an H100 or H200.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.autograd.profiler_util import FunctionEvent
from torch.utils.flop_counter import FlopCounterMode

from synhead.config import ablate, preset
from synhead.data.config import ColourJitter, CropJitter, DataConfig
from synhead.data.pairs import BatchFormat, PairSampler, Share
from synhead.data.sampling import ClipTable
from synhead.data.store import FrameStore
from synhead.losses.config import LossConfig
from synhead.losses.objective import GeneratorObjective
from synhead.losses.perceptual import build_perceptual
from synhead.training.config import ExecutionConfig, TrainingConfig
from synhead.training.distributed import make_fabric, set_matmul_precision
from synhead.training.meters import Meters
from synhead.training.randomness import warps_for
from synhead.training.state import build
from synhead.training.step import Micro, Steps, make_steps


@dataclass(frozen=True, kw_only=True)
class Case:
    """One configuration to measure; ``batch`` is that of one process."""

    preset: str
    batch: int
    compile: str
    graphs: bool
    precision: str
    adversarial: bool
    channels_last: bool
    perceptual: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured. ``first_s``: the first step (compilation); ``floor_share``: floor time / measured time."""

    case: Case
    device: str
    processes: int
    samples_per_second: float
    windows: tuple[float, ...]
    step_ms: float
    data_ms: float
    peak_memory_gib: float
    tflop_per_sample: float
    floor_share: float
    first_s: float
    loss: float


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=["base"])
    parser.add_argument("--batch", nargs="+", type=int, default=[16])
    parser.add_argument("--compile", nargs="+", default=["off"], help="off, default, reduce-overhead, ...")
    parser.add_argument("--graphs", nargs="+", default=["off"], choices=("on", "off"), help="CUDA graphs")
    parser.add_argument("--precision", nargs="+", default=["bf16"], choices=("fp32", "tf32", "bf16"))
    parser.add_argument("--adversarial", nargs="+", default=["on"], choices=("on", "off"))
    parser.add_argument("--perceptual", default="vgg19-random", help="or none, vgg19")
    parser.add_argument("--contiguous", action="store_true", help="leave channels_last off")
    parser.add_argument("--augment", action="store_true", help="colour and crop jitter on all pairs")
    parser.add_argument("--warmup", type=int, default=5, help="steps before the first window")
    parser.add_argument("--steps", type=int, default=10, help="steps a window")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--frames", type=int, default=256, help="random frames in the store")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "cpu"))
    parser.add_argument("--tflops", type=float, default=790.0)
    parser.add_argument("--profile", type=int, default=0, metavar="ROWS", help="print the top operations of 3 steps")
    parser.add_argument("--shapes", action="store_true", help="with --profile: by shape and caller, into --out")
    parser.add_argument("--out", type=Path, help="folder for train.json")
    return parser.parse_args(argv)


def cases(options: argparse.Namespace) -> list[Case]:
    """All combinations."""
    axes = (
        options.preset,
        options.batch,
        options.compile,
        options.graphs,
        options.precision,
        options.adversarial,
    )
    return [
        Case(
            preset=name,
            batch=batch,
            compile=mode,
            graphs=graphs == "on",
            precision=precision,
            adversarial=adversarial == "on",
            channels_last=not options.contiguous,
            perceptual=options.perceptual,
        )
        for name, batch, mode, graphs, precision, adversarial in itertools.product(*axes)
    ]


class Bench:
    """Steps on random data for one case."""

    def __init__(self, fabric: Fabric, case: Case, options: argparse.Namespace) -> None:
        set_matmul_precision(case.precision)
        name, _, ablation = case.preset.partition(":")
        model = ablate(preset(name), ablation or "full")
        execution = ExecutionConfig(
            precision=case.precision,
            compile=case.compile,
            cuda_graphs=case.graphs,
            channels_last=case.channels_last,
        )
        config = TrainingConfig(batch=case.batch, execution=execution)
        losses = LossConfig(perceptual=case.perceptual, adversarial_start=0)
        if not case.adversarial:
            losses = replace(losses, weights=replace(losses.weights, adversarial=0.0))
        self.fabric, self.case = fabric, case
        self.state = build(model, config, fabric.device)
        self.steps: Steps = make_steps(fabric, self.state, GeneratorObjective(losses, build_perceptual(losses)), config)
        self.meters = Meters(fabric, model)
        self.pairs = random_pairs(fabric, model.image_size, options, channels_last=case.channels_last)

    def draw(self) -> list[Micro]:
        """One batch from the sampler, with its warps."""
        iteration, size, fabric = self.state.counters.iteration + 1, self.case.batch, self.fabric
        rows = slice(fabric.global_rank * size, (fabric.global_rank + 1) * size)
        pair = self.pairs.next_batch(size)
        return [
            Micro(pair.source, pair.driving, warps_for(0, iteration, rows, size * fabric.world_size, fabric.device))
        ]

    def step(self) -> torch.Tensor:
        """One whole iteration, as the trainer does it."""
        batch = self.draw()
        generated = self.steps.generator_step(batch, adversarial=self.case.adversarial)
        images = [result.image for result in generated]
        judged = self.steps.discriminator_step(batch, images) if self.case.adversarial else []
        self.meters.update(generated, judged)
        self.state.counters.iteration += 1
        return generated[0].total


def random_pairs(fabric: Fabric, size: int, options: argparse.Namespace, *, channels_last: bool) -> PairSampler:
    """The trainer's sampler over random frames."""
    generator = torch.Generator(device=fabric.device).manual_seed(0)
    shape = (options.frames, size, size, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=fabric.device, generator=generator)
    clips = max(1, options.frames // 16)
    table = ClipTable(
        names=tuple(f"clip{i}" for i in range(clips)),
        people=tuple(f"person{i}" for i in range(clips)),
        person=np.arange(clips),
        generated=np.zeros(clips, dtype=np.bool_),
    )
    offsets = np.linspace(0, options.frames, clips + 1).astype(np.int64)
    config = DataConfig(size=size)
    if options.augment:
        config = replace(config, colour=ColourJitter(probability=1.0), crop=CropJitter(probability=1.0))
    share = Share(rank=fabric.global_rank, world_size=fabric.world_size)
    form = BatchFormat(device=fabric.device, channels_last=channels_last)
    return PairSampler(FrameStore(frames, offsets, table), config, share=share, form=form)


def synchronise(fabric: Fabric) -> float:
    """Wait for the device; the time then."""
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(fabric: Fabric, case: Case, options: argparse.Namespace) -> Figures:
    """Warm up, time the windows, count the arithmetic."""
    bench = Bench(fabric, case, options)
    if fabric.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun = synchronise(fabric)
    bench.step()
    first = synchronise(fabric) - begun
    for _ in range(options.warmup - 1):
        bench.step()
    windows = []
    for _ in range(options.windows):
        begun = synchronise(fabric)
        for _ in range(options.steps):
            loss = bench.step()
        windows.append(case.batch * fabric.world_size * options.steps / (synchronise(fabric) - begun))
    begun = synchronise(fabric)
    for _ in range(options.steps):
        bench.draw()
    data = (synchronise(fabric) - begun) / options.steps
    peak = torch.cuda.max_memory_allocated() / 2**30 if fabric.device.type == "cuda" else 0.0
    if options.profile:
        profile(bench, options)
    speed = median(windows)
    del bench
    release(fabric)
    try:
        flop = count_flop(fabric, case, options)
    except RuntimeError as error:
        print(f"arithmetic not counted: {error}", flush=True)
        flop = float("nan")
    return Figures(
        case=case,
        device=torch.cuda.get_device_name() if fabric.device.type == "cuda" else "cpu",
        processes=fabric.world_size,
        samples_per_second=speed,
        windows=tuple(windows),
        step_ms=1e3 * case.batch * fabric.world_size / speed,
        data_ms=1e3 * data,
        peak_memory_gib=peak,
        tflop_per_sample=flop / 1e12,
        floor_share=speed / fabric.world_size * flop / (options.tflops * 1e12),
        first_s=first,
        loss=float(loss),
    )


_flop_of: dict[tuple[str, bool, str], float] = {}


def count_flop(fabric: Fabric, case: Case, options: argparse.Namespace) -> float:
    """Floating-point operations of one sample's iteration, forward and backward, counted once a preset, uncompiled."""
    key = (case.preset, case.adversarial, case.perceptual)
    if key not in _flop_of:
        bench = Bench(fabric, replace(case, compile="off", graphs=False, batch=1), options)
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = WholeTracker()  # type: ignore[assignment]
        with counter:
            bench.step()
        _flop_of[key] = float(counter.get_total_flops())
        del bench
        release(fabric)
    return _flop_of[key]


class WholeTracker:
    """Stands in for the counter's tracker of modules, whose hooks refuse a gradient taken inside a forward."""

    parents: ClassVar[set[str]] = {"Global"}

    def __enter__(self) -> WholeTracker:
        return self

    def __exit__(self, *_: object) -> None:
        return


def release(fabric: Fabric) -> None:
    """Give memory back between cases."""
    gc.collect()
    torch.compiler.reset()
    if fabric.device.type == "cuda":
        torch.cuda.empty_cache()


def profile(bench: Bench, options: argparse.Namespace) -> None:
    """Print the operations of 3 steps by device time; with --shapes list them by shape and caller as well."""
    cuda = bench.fabric.device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if cuda else []
    with torch.profiler.profile(activities=activities, record_shapes=options.shapes) as profiler:
        for _ in range(3):
            bench.step()
        synchronise(bench.fabric)
    if not bench.fabric.is_global_zero:
        return
    order = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    print(profiler.key_averages().table(sort_by=order, row_limit=options.profile, max_name_column_width=90))
    if options.shapes and options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        name = f"profile-{bench.case.preset.replace(':', '-')}-{bench.case.batch}.json"
        (options.out / name).write_text(json.dumps(by_shape(profiler.events(), cuda=cuda), indent=0) + "\n")


def by_shape(events: Iterable[FunctionEvent], *, cuda: bool) -> list[dict[str, Any]]:
    """Milliseconds a step of every operation, by its shapes and its nearest four callers, and of every kernel."""
    rows: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        if not spent:
            continue
        callers: list[str] = []
        above = event.cpu_parent
        while above is not None and len(callers) < 4:
            callers.append(above.name)
            above = above.cpu_parent
        kind = "kernel" if "CUDA" in str(event.device_type) else " < ".join(callers)
        row = rows.setdefault((event.name, str(event.input_shapes or ""), kind), [0.0, 0])
        row[0] += spent / 3e3
        row[1] += 1
    fields = ("name", "shapes", "callers", "ms", "calls")
    ranked = sorted(rows.items(), key=lambda item: -item[1][0])
    return [dict(zip(fields, (*key, round(ms, 4), calls / 3), strict=True)) for key, (ms, calls) in ranked]


@contextmanager
def explained(case: Case, failures: list[dict[str, Any]]) -> Iterator[None]:
    """A case that fails (out of memory) is noted and the others still run."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        failures.append({"case": asdict(case), "error": reason})
        print(f"FAILED {case}: {reason}", flush=True)


def show(figures: Figures) -> str:
    """One line."""
    case = figures.case
    adversarial = "adv" if case.adversarial else "   "
    how = f"{case.precision} {case.compile:8} {'graphs' if case.graphs else '      '} {adversarial}"
    return (
        f"{case.preset:14} b{case.batch:<4} x{figures.processes} {how} "
        f"{figures.samples_per_second:8.1f} samples/s  {figures.step_ms:8.1f} ms  data {figures.data_ms:5.2f} ms  "
        f"{figures.peak_memory_gib:6.1f} GiB  {figures.tflop_per_sample:5.2f} TFLOP  "
        f"{100 * figures.floor_share:5.1f} % of the floor  first {figures.first_s:5.1f} s  loss {figures.loss:.3f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every case; print a line for each and write them all."""
    options = parse_arguments(argv)
    todo = cases(options)
    if len(set(options.precision)) > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.exit("under torchrun measure one --precision a call")
    results: list[Figures] = []
    failures: list[dict[str, Any]] = []
    fabrics: dict[str, Fabric] = {}
    for case in todo:
        if case.precision not in fabrics:
            fabrics[case.precision] = make_fabric(ExecutionConfig(precision=case.precision), options.device)
        fabric = fabrics[case.precision]
        with explained(case, failures):
            results.append(measure(fabric, case, options))
            if fabric.is_global_zero:
                print(show(results[-1]), flush=True)
        release(fabric)
        if options.out is not None and fabric.is_global_zero:  # after each: the machine may be taken away
            write(results, failures, options.out)
    return 1 if failures else 0


def write(results: Sequence[Figures], failures: Sequence[dict[str, Any]], folder: Path) -> None:
    """What was measured so far, as train.json."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {"torch": torch.__version__, "results": [asdict(r) for r in results], "failures": failures}
    (folder / "train.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
