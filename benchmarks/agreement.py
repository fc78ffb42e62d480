"""Do two ways of computing the same training agree? Loss curves from the same seeds on the same clips.

    python benchmarks/agreement.py --data clips --preset base --batch 16 --out agreement
    python benchmarks/agreement.py --data val.tar --preset tiny --batch 4 --steps 100 --device cpu --out agreement

Every seed is trained twice, by --reference (fp32, eager) and by --candidate (bf16, compiled); the seed decides weights,
pairs and warps. The distance between the two curves of a seed is set against the distance between the curves of two
seeds, both as mean absolute differences of curves averaged over --window steps. Agreement: the first is the smaller
one, of the total and of every term. Writes agreement.json and agreement.png; exit code 1 without agreement. The curves
of every run are kept in OUT, so that a call that was cut off goes on with the runs that are missing, and so that two
calls with --only can share the work.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synhead.config import preset, to_json
from synhead.data.cache import open_store
from synhead.data.clips import open_clips
from synhead.data.pairs import BatchFormat, PairSampler
from synhead.data.store import FrameStore
from synhead.losses.objective import GeneratorObjective
from synhead.losses.perceptual import build_perceptual
from synhead.training.config import RunConfig, override, recipe
from synhead.training.distributed import make_fabric
from synhead.training.randomness import warps_for
from synhead.training.state import build
from synhead.training.step import Micro, make_steps
from synhead.types import NDArray

Curves = dict[str, NDArray[np.float64]]
"""Values by term, one a step; NaN where the term was off."""

SETTINGS = "settings"


@dataclass(frozen=True)
class Mode:
    """One way of computing, such as ``bf16:default``."""

    precision: str
    compile: str

    @classmethod
    def of(cls, text: str) -> Mode:
        """From ``PRECISION:COMPILE``."""
        precision, _, compiled = text.partition(":")
        return cls(precision, compiled or "off")

    def __str__(self) -> str:
        return f"{self.precision}, {'eager' if self.compile == 'off' else 'compiled'}"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="clips as for `synhead train`")
    parser.add_argument("--preset", default="base")
    parser.add_argument("--recipe", default="published", choices=("published", "synhead"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--candidate-seeds", type=int, nargs="+", help="of the candidate, if fewer than --seeds")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--reference", type=Mode.of, default=Mode.of("fp32:off"), metavar="PRECISION:COMPILE")
    parser.add_argument("--candidate", type=Mode.of, default=Mode.of("bf16:default"), metavar="PRECISION:COMPILE")
    parser.add_argument("--adversarial-start", type=int, default=100, help="so that the adversarial part is compared")
    parser.add_argument("--perceptual", default="vgg19-random")
    parser.add_argument("--window", type=int, default=20, help="steps that a point of a curve averages")
    parser.add_argument("--only", choices=("reference", "candidate"), help="just keep the curves of one mode in OUT")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "cpu"))
    parser.add_argument("--cache", type=Path, help="folder for decoded frames")
    parser.add_argument("--out", type=Path, default=Path("agreement"))
    return parser.parse_args(argv)


def configure(options: argparse.Namespace, mode: Mode, seed: int) -> RunConfig:
    """The run of one seed in one mode."""
    changes = {
        "training.seed": seed,
        "training.batch": options.batch,
        "training.iterations": options.steps,
        "training.execution.precision": mode.precision,
        "training.execution.compile": mode.compile,
        "losses.perceptual": options.perceptual,
        "losses.adversarial_start": options.adversarial_start,
    }
    return override(recipe(options.recipe, preset(options.preset)), changes)


def train(config: RunConfig, store: FrameStore, device: str) -> Curves:
    """Loss terms of every step, as the trainer computes them; read once, at the end."""
    fabric = make_fabric(config.training.execution, device)
    state = build(config.model, config.training, fabric.device)
    objective = GeneratorObjective(config.losses, build_perceptual(config.losses))
    steps = make_steps(fabric, state, objective, config.training)
    form = BatchFormat(device=fabric.device, channels_last=config.training.execution.channels_last)
    seed, batch = config.training.seed, config.training.batch
    pairs = PairSampler(store, config.data, seed=seed, form=form)
    found: list[dict[str, torch.Tensor]] = []
    for iteration in range(1, config.training.iterations + 1):
        adversarial = config.losses.adversarial_active(iteration)
        pair = pairs.next_batch(batch)
        micro = Micro(pair.source, pair.driving, warps_for(seed, iteration, slice(batch), batch, fabric.device))
        generated = steps.generator_step([micro], adversarial=adversarial)
        judged = steps.discriminator_step([micro], [generated[0].image]) if adversarial else []
        state.counters.iteration = iteration
        found.append({"total": generated[0].total} | generated[0].terms | (judged[0].terms if judged else {}))
    names = sorted({name for terms in found for name in terms})
    return {name: np.array([float(terms.get(name, torch.nan)) for terms in found]) for name in names}


def recall(config: RunConfig, store: FrameStore, device: str, path: Path) -> Curves:
    """The curves of an earlier call with the same settings, else those of a training; kept in ``path``."""
    settings = f"{device} {store.table.names} {to_json(config)}"
    if path.is_file():
        kept = np.load(path)
        if str(kept[SETTINGS]) == settings:
            return {name: kept[name] for name in kept.files if name != SETTINGS}
    curves = train(config, store, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **curves, **{SETTINGS: np.array(settings)})
    return curves


def smooth(curve: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means over ``window`` steps of the part where the term was on."""
    values = curve[~np.isnan(curve)]
    width = max(1, min(window, len(values)))
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def compare(
    reference: Sequence[Curves], pairs: Sequence[tuple[Curves, Curves]], window: int
) -> dict[str, dict[str, float]]:
    """Of each term: distance of the two modes at equal seeds (``pairs``), and of two seeds in the reference mode."""
    report = {}
    for name in reference[0]:
        ours = [smooth(curves[name], window) for curves in reference]
        both = [(smooth(a[name], window), smooth(b[name], window)) for a, b in pairs]
        modes = [float(np.abs(a - b).mean()) for a, b in both]
        seeds = [float(np.abs(a - b).mean()) for a, b in itertools.combinations(ours, 2)]
        bias = [float((b - a).mean()) for a, b in both]
        report[name] = {
            "level": float(np.mean([curve.mean() for curve in ours])),
            "between_modes": float(np.mean(modes)),
            "between_seeds": float(np.mean(seeds)),
            "bias": float(np.mean(bias)),
        }
    return report


def agrees(figures: Mapping[str, float]) -> bool:
    """Whether the modes are nearer than the seeds; a term that is the same for all seeds (0, say) agrees too."""
    return figures["between_modes"] <= max(figures["between_seeds"], 1e-6 * abs(figures["level"]))


def draw(runs: Mapping[str, Sequence[Curves]], options: argparse.Namespace, path: Path) -> None:
    """The curves of the total, a colour a seed, a stroke a mode."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  (only for the picture)
    except ImportError:
        print("no picture: pip install matplotlib", file=sys.stderr)
        return
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes: Any = figure.subplots()
    for (mode, curves), stroke in zip(runs.items(), ("-", "--"), strict=True):
        seeds = options.candidate_seeds if stroke == "--" else options.seeds
        for seed, found in zip(seeds, curves, strict=True):
            index = options.seeds.index(seed)
            curve = smooth(found["total"], options.window)
            steps = np.arange(len(curve)) + options.window
            axes.plot(steps, curve, stroke, color=f"C{index}", label=f"{mode}, seed {seed}", linewidth=1.2)
    axes.set(xlabel="step", ylabel=f"total loss, mean of {options.window} steps", yscale="log")
    axes.set_title(f"{options.preset}, batch {options.batch}, adversarial part after step {options.adversarial_start}")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, compare, write."""
    options = parse_arguments(argv)
    if len(options.seeds) < 2 and options.only is None:
        sys.exit("give at least two --seeds: their spread is the yardstick")
    options.candidate_seeds = options.candidate_seeds or options.seeds
    if not set(options.candidate_seeds) <= set(options.seeds):
        sys.exit("--candidate-seeds must be among --seeds: curves of equal seeds are compared")
    clips = open_clips(options.data, "train").clips
    store = open_store(clips, preset(options.preset).image_size, cache=options.cache)
    runs: dict[str, list[Curves]] = {}
    modes = {"reference": options.reference, "candidate": options.candidate}
    for mode in modes.values() if options.only is None else [modes[options.only]]:
        for seed in options.candidate_seeds if mode is options.candidate else options.seeds:
            begun = time.perf_counter()
            kept = options.out / f"{mode.precision}-{mode.compile}-{seed}.npz"
            curves = recall(configure(options, mode, seed), store, options.device, kept)
            runs.setdefault(str(mode), []).append(curves)
            seconds = time.perf_counter() - begun
            print(f"{mode}, seed {seed}: last total {curves['total'][-1]:.4f}, {seconds:.0f} s", flush=True)
            gc.collect()
            torch.compiler.reset()
    if options.only is not None:
        return 0
    reference, candidate = runs.values()
    same = [reference[options.seeds.index(seed)] for seed in options.candidate_seeds]
    report = compare(reference, list(zip(same, candidate, strict=True)), options.window)
    for name, figures in report.items():
        print(
            f"{name:24} level {figures['level']:10.4f}  between modes {figures['between_modes']:.5f}  between seeds "
            f"{figures['between_seeds']:.5f}  bias {figures['bias']:+.5f}  {'agrees' if agrees(figures) else 'DIFFERS'}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    raw = {
        mode: [{name: [None if np.isnan(v) else float(v) for v in curve] for name, curve in c.items()} for c in found]
        for mode, found in runs.items()
    }
    settings = {name: str(value) for name, value in vars(options).items()}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() and options.device != "cpu" else "cpu"
    written = {"device": device, "torch": torch.__version__, "settings": settings, "terms": report, "curves": raw}
    (options.out / "agreement.json").write_text(json.dumps(written) + "\n")
    draw(runs, options, options.out / "agreement.png")
    return 0 if all(agrees(figures) for figures in report.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
