"""Inference speed: frames/s and latency of every engine asked for, side by side in one process; a table and JSON.

    python benchmarks/inference.py --preset paper lite --engine published eager prepared --precision fp32 bf16
    python benchmarks/inference.py --preset paper base --device cuda --engine eager prepared compiled --precision bf16 \
        --batch 1 8 32 --json report.json
    python benchmarks/inference.py --preset lite --engine prepared compiled onnx --video driving.mp4 --check
    python benchmarks/inference.py --preset paper --against "python other.py --frames 100"

``published`` is the eager model with the source encoded anew for every frame, as the published code does it; it is the
yardstick of the column "of published". Engines take turns, one round each, so that a loaded machine slows all alike;
times are medians over rounds. A frame counts from its 8-bit picture (on the device for --resident) to the 8-bit result:
keypoints, relative motion, drawing. The floor is the time that the counted arithmetic with the source cached would take
at --tflops. ``--against`` times another command's wall clock, in turns with the first case.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from synhead.app.models import untrained
from synhead.config import PRESETS
from synhead.faces.framing import Framing
from synhead.inference.cost import measure_cost
from synhead.inference.engine import EagerEngine, Engine
from synhead.inference.engines import ENGINES, EngineOptions, make_engine
from synhead.inference.fast import FastEngine
from synhead.inference.motion_transfer import transfer_motion
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints
from synhead.weights.checkpoint import load

ENGINE_NAMES = ("published", *ENGINES)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One case; times in milliseconds, ``frame_ms`` and ``stages_ms`` a frame, latencies a call of ``batch`` frames."""

    preset: str
    engine: str
    precision: str
    batch: int
    fps: float
    frame_ms: float
    latency_median_ms: float
    latency_p95_ms: float
    of_published: float | None
    of_floor: float | None
    first_frame_s: float
    peak_mib: float
    stages_ms: dict[str, float]


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=["lite"], choices=tuple(PRESETS), help="untrained weights")
    parser.add_argument("--size", type=int, help="side of the pictures of a --preset; default: the preset's own")
    parser.add_argument(
        "--checkpoint", type=Path, nargs="*", default=[], help="checkpoint folders, instead of --preset"
    )
    parser.add_argument("--engine", nargs="+", default=["published", "eager", "prepared"], choices=ENGINE_NAMES)
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of PyTorch on the CPU; default: its own choice")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every case")
    parser.add_argument("--calls", type=int, default=2, help="calls a turn")
    parser.add_argument("--tflops", type=float, default=790.0, help="rate of the floor, on a GPU")
    parser.add_argument("--resident", action="store_true", help="frames and results stay on the device")
    parser.add_argument("--video", type=Path, help="also end to end from this video to an mp4, with each stage's time")
    parser.add_argument("--check", action="store_true", help="compare pictures with the eager engine; exit 1 if wrong")
    parser.add_argument("--against", metavar="CMD", help="time another command in turns with the first case")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


class Case:
    """One engine with its source and driving frames, ready to be called."""

    def __init__(self, model: TalkingHead, name: str, precision: str, batch: int, options: argparse.Namespace) -> None:
        self.name, self.precision, self.batch = name, precision, batch
        self.preset = model.config.name
        self.latencies: list[float] = []
        self.device = next(model.parameters()).device
        size = model.config.image_size
        self.portrait, self.frames = picture(0, size), [picture(seed, size) for seed in range(1, batch + 1)]
        reset_peak(self.device)
        start = time.perf_counter()
        self.engine = build(model, name, precision, batch)
        self.source = self.engine.observe(self.portrait)
        self.origin = self.engine.keypoints(self.frames[:1])
        self.resident = options.resident and isinstance(self.engine, FastEngine)
        self.uploaded = torch.from_numpy(np.stack(self.frames)).to(self.device)
        self.call()
        self.first_frame_s = time.perf_counter() - start
        self.call()  # whatever is only set up at the second call
        self.peak_mib = peak_mib(self.device)

    def call(self) -> None:
        """One batch, from pictures to pictures."""
        if self.name == "published":
            self.source = self.engine.observe(self.portrait)
        driving = self.driving()
        if self.resident:
            assert isinstance(self.engine, FastEngine)
            with self.engine.running():
                self.engine.draw(self.source, driving)
            synchronise(self.device)
        else:
            self.engine.render(self.source, driving)

    def driving(self) -> Keypoints:
        """Keypoints of the frames, moved to the source."""
        if self.resident:
            assert isinstance(self.engine, FastEngine)
            with torch.inference_mode():
                found = self.engine.locate(self.uploaded)
        else:
            found = self.engine.keypoints(self.frames)
        return transfer_motion(self.source.keypoints, found, self.origin)

    def turn(self, calls: int) -> None:
        """``calls`` timed calls."""
        for _ in range(calls):
            self.latencies.append(seconds(self.call, self.device))

    def stages(self) -> dict[str, float]:
        """Milliseconds a frame of each part; inside a graph there are none to tell apart."""
        driving = self.driving()
        found = {
            "keypoints": seconds(self.driving, self.device),
            "draw": seconds(lambda: self.engine.render(self.source, driving), self.device),
        }
        model = rendering_model(self.engine)
        if model is not None:
            found |= self._inside(model, driving)
        return {name: 1e3 * value / self.batch for name, value in found.items()}

    def _inside(self, model: TalkingHead, driving: Keypoints) -> dict[str, float]:
        spent: dict[str, float] = {}
        hooks = [h for name, module in timed_modules(model) for h in clock(module, name, spent, self.device)]
        self.engine.render(self.source, driving)
        for hook in hooks:
            hook.remove()
        return spent

    def result(self, published: Case | None, floor_s: float | None) -> Result:
        """The figures so far."""
        times = sorted(self.latencies)
        middle = median(times)
        return Result(
            preset=self.preset,
            engine=self.name,
            precision=self.precision,
            batch=self.batch,
            fps=self.batch / middle,
            frame_ms=1e3 * middle / self.batch,
            latency_median_ms=1e3 * middle,
            latency_p95_ms=1e3 * times[min(len(times) - 1, round(0.95 * (len(times) - 1)))],
            of_published=None if published is None else middle / self.batch / median(published.latencies),
            of_floor=None if floor_s is None else floor_s / (middle / self.batch),
            first_frame_s=self.first_frame_s,
            peak_mib=self.peak_mib,
            stages_ms=self.stages(),
        )


def build(model: TalkingHead, name: str, precision: str, batch: int) -> Engine:
    """The named engine; a graph for onnx is exported on the spot."""
    if name == "onnx":
        from synhead.inference.export import export_onnx  # noqa: PLC0415 - an extra

        path = Path(tempfile.mkdtemp()) / "frame.onnx"
        export_onnx(model, path, batch=batch)
        return make_engine(model, EngineOptions(name="onnx", graph=path))
    if name in ("published", "eager"):
        return EagerEngine(model, precision=precision)  # type: ignore[arg-type]
    return make_engine(model, EngineOptions(name=name, precision=precision))  # type: ignore[arg-type]


def rendering_model(engine: Engine) -> TalkingHead | None:
    """The modules that draw, where they run as modules."""
    if isinstance(engine, FastEngine):
        return None if engine.compiled else engine.drawing_model
    return engine.model if type(engine) is EagerEngine else None


def timed_modules(model: TalkingHead) -> Iterator[tuple[str, torch.nn.Module]]:
    """Coarse motion, compensation of every scale, the decoder and its fusions."""
    yield "coarse_motion", model.coarse_motion
    yield "motion_compensation", model.motion_compensation
    yield "appearance_compensation", model.appearance_compensation
    yield "decoder", model.decoder
    for scale, fusion in model.decoder.fusions.items():
        yield f"decoder.fusion_{scale}", fusion


def clock(
    module: torch.nn.Module, name: str, spent: dict[str, float], device: torch.device
) -> tuple[torch.utils.hooks.RemovableHandle, ...]:
    """Hooks that add the module's time to ``spent``, by scale where the first argument is one."""
    started: list[float] = []

    def before(*_: object) -> None:
        synchronise(device)
        started.append(time.perf_counter())

    def after(_: object, inputs: tuple[object, ...], __: object) -> None:
        synchronise(device)
        label = f"{name}_{inputs[0]}" if isinstance(inputs[0], int) else name
        spent[label] = spent.get(label, 0.0) + time.perf_counter() - started.pop()

    return module.register_forward_pre_hook(before), module.register_forward_hook(after)


def seconds(action: Callable[[], object], device: torch.device) -> float:
    """Wall time of ``action`` until the device is done."""
    synchronise(device)
    start = time.perf_counter()
    action()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Begin to measure a GPU's memory anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float:
    """Of the GPU since the last reset, or of this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def picture(seed: int, size: int) -> np.ndarray:
    """A smooth random picture."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return (fine[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def measure(model: TalkingHead, options: argparse.Namespace) -> tuple[list[Result], list[str]]:
    """All cases of one model in turns, and what failed or was found wrong by --check."""
    cases, failed = [], []
    for name, precision, batch in itertools.product(options.engine, options.precision, options.batch):
        if name == "published" and (precision, batch) != ("fp32", 1):
            continue  # the yardstick is one
        if name == "onnx" and precision != "fp32":
            continue
        try:
            cases.append(Case(model, name, precision, batch, options))
        except Exception as error:  # no compiler, no memory: the others are measured all the same
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            failed.append(f"{model.config.name} {name} {precision} batch {batch} FAILED: {reason}")
            print(failed[-1], flush=True)
    if not cases:
        return [], failed
    for _ in range(options.rounds):
        for case in cases:
            case.turn(options.calls)
    published = next((case for case in cases if case.name == "published"), None)
    gmac = measure_cost(model).driving_frame
    floor_s = 2 * gmac * 1e9 / (options.tflops * 1e12) if cases[0].device.type == "cuda" else None
    wrong = check(model, cases) if options.check else []
    return [case.result(published, floor_s) for case in cases], failed + wrong


def check(model: TalkingHead, cases: Sequence[Case]) -> list[str]:
    """Pictures of every case against the eager fp32 ones: 1 level in fp32, 1 level on average in bf16."""
    yardstick, wrong = EagerEngine(model), []
    for case in cases:
        driving = yardstick.keypoints(case.frames)
        wanted = yardstick.render(yardstick.observe(case.portrait), driving).astype(int)
        error = np.abs(case.engine.render(case.source, driving).astype(int) - wanted)
        line = (
            f"{case.preset} {case.name} {case.precision} batch {case.batch}: "
            f"{error.mean():.4f} levels on average, {error.max()} at most"
        )
        print(line)
        if (error.mean() if case.precision == "bf16" else error.max()) > 1:
            wrong.append(line)
    return wrong


def end_to_end(model: TalkingHead, video: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """From mp4 to mp4 with the last engine named: seconds of each stage, frames a second."""
    from synhead.data.image import write_image  # noqa: PLC0415 - needs Pillow
    from synhead.inference.animator import Animator, AnimatorOptions  # noqa: PLC0415
    from synhead.inference.pipeline import AnimationJob, animate_video  # noqa: PLC0415 - needs PyAV

    engine = build(model, options.engine[-1], options.precision[-1], options.batch[-1])
    animator = Animator(model, AnimatorOptions(batch_size=options.batch[-1]), engine=engine)
    with tempfile.TemporaryDirectory() as folder:
        portrait = Path(folder) / "portrait.png"
        write_image(portrait, picture(0, model.config.image_size))
        square = Framing(crop="center")  # noise has no face
        job = AnimationJob(
            source=portrait, driving=video, output=Path(folder) / "out.mp4", framing=square, driving_framing=square
        )
        start = time.perf_counter()
        report = animate_video(animator, job)
        passed = time.perf_counter() - start
    return {model.config.name: {**asdict(report.seconds), "all": passed, "fps": report.frames / passed}}


def against(command: str, rounds: int) -> float:
    """Median wall time of another command, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(shlex.split(command), check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return median(times)


def show(results: Sequence[Result]) -> None:
    """One line a case, then its stages."""
    print(
        "preset engine     precision batch  frames/s  ms/frame  median     p95  of published  of floor  first s     MiB"
    )
    for r in results:
        share = "-" if r.of_published is None else f"{r.of_published:.0%}"
        floor = "-" if r.of_floor is None else f"{r.of_floor:.0%}"
        print(
            f"{r.preset:6} {r.engine:10} {r.precision:9} {r.batch:5d} {r.fps:9.2f} {r.frame_ms:9.1f} "
            f"{r.latency_median_ms:7.1f} {r.latency_p95_ms:7.1f} {share:>13} {floor:>9} {r.first_frame_s:8.1f} "
            f"{r.peak_mib:7.0f}"
        )
    for r in results:
        parts = ", ".join(f"{name} {value:.1f}" for name, value in r.stages_ms.items())
        print(f"{r.preset} {r.engine} {r.precision} batch {r.batch}, ms a frame: {parts}")


def device_name(options: argparse.Namespace) -> str:
    """On what it was measured."""
    return torch.cuda.get_device_name() if options.device.startswith("cuda") else f"{torch.get_num_threads()} threads"


def write(results: Sequence[Result], extra: Mapping[str, object], options: argparse.Namespace) -> None:
    """What was measured so far, if a file is wished for."""
    if options.json:
        found = [asdict(result) for result in results]
        report = {"torch": torch.__version__, "device": device_name(options), "results": found, **extra}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = parse_arguments(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.checkpoint and options.size:
        sys.exit("--size goes with --preset: a checkpoint's weights have the size they were made for")
    if options.checkpoint:
        models = [load(path, device=options.device) for path in options.checkpoint]
    else:
        models = [untrained(name, device=options.device, size=options.size) for name in options.preset]
    results: list[Result] = []
    wrong: list[str] = []
    extra: dict[str, object] = {}
    for model in models:
        measured, found = measure(model, options)
        results += measured
        wrong += found
        if options.video:
            extra |= {"end_to_end": {**extra.get("end_to_end", {}), **end_to_end(model, options.video, options)}}  # type: ignore[dict-item]
        write(results, extra, options)  # after each model: the machine may be taken away
    if options.against:
        extra["against_s"] = against(options.against, options.rounds)
        write(results, extra, options)
    print(f"torch {torch.__version__} on {device_name(options)}")
    show(results)
    for name, value in extra.items():
        print(f"{name}: {value}")
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
