"""Which reconstruction losses serve best without ImageNet weights? Short equal runs, compared on held-out clips.

    python benchmarks/features.py --data clips --out weights/face-features
    python benchmarks/losses.py --data clips --features weights/face-features --iterations 2000 --out losses

Each variant is one `synhead train --recipe synhead` of its own in OUT/<variant>, alike but for the terms named; then
`synhead evaluate` measures its averaged weights on the held-out clips and keeps the frames, so that landmarks can be
scored elsewhere if mediapipe is not installed here. Variants that are finished are not run again, and one that was cut
short goes on: on a machine that is lent for minutes, call this again with --max-minutes. What follows `--` goes to
`synhead train`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

OFF = {"losses.weights.ms_ssim": 0.0, "losses.weights.laplacian": 0.0, "losses.weights.feature_matching": 0.0}
STRUCTURE = {"losses.weights.ms_ssim": 1.0, "losses.weights.laplacian": 1.0}
MATCHING = {"losses.weights.feature_matching": 1.0}

VARIANTS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "pixel": ("none", {}),
    "random": ("vgg19-random", {}),
    "matching": ("none", MATCHING),
    "structure": ("none", STRUCTURE),
    "features": ("local", {}),
    "random+structure": ("vgg19-random", STRUCTURE),
    "features+structure": ("local", STRUCTURE),
    "random+matching": ("vgg19-random", MATCHING),
    "features+matching": ("local", MATCHING),
    "features+structure+matching": ("local", STRUCTURE | MATCHING),
}
"""Perceptual network and weights of further terms."""

EVALUATED = ("psnr", "l1", "ssim", "akd.mediapipe", "mouth.mediapipe", "eyes.mediapipe")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="clips as for `synhead train`")
    parser.add_argument("--val", help="held-out clips; default: the val split of --data")
    parser.add_argument("--features", type=Path, help="network of benchmarks/features.py; needed by features*")
    parser.add_argument("--only", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS), metavar="VARIANT")
    parser.add_argument("--preset", default="base")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=1, help="GPUs, under torchrun")
    parser.add_argument("--max-minutes", type=float, help="begin nothing, and stop what runs, after so long")
    parser.add_argument("--frames", type=int, default=10, help="driving frames a held-out clip to draw; 0: none")
    parser.add_argument("--out", type=Path, default=Path("losses"))
    parser.add_argument("more", nargs="*", metavar="-- OPTION", help="further options of `synhead train`")
    return parser.parse_args(argv)


def train_command(variant: str, options: argparse.Namespace, minutes: float | None) -> list[str]:
    """The command that trains a variant, or goes on with it."""
    perceptual, weights = VARIANTS[variant]
    start = [sys.executable, "-m"]
    if options.processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(options.processes), "-m"]
    command = [*start, "synhead.app.train", "--data", options.data, "--preset", options.preset]
    command += ["--recipe", "synhead", "--runs", str(options.out), "--name", variant, "--resume", "--half"]
    command += ["--iterations", str(options.iterations), "--adversarial-start", str(options.iterations // 4)]
    command += ["--perceptual", perceptual, "--no-tensorboard", "--set", f"training.every.checkpoint={10**9}"]
    command += ["--set", f"training.every.validate={max(1, options.iterations // 4)}"]
    command += [part for name, value in (OFF | dict(weights)).items() for part in ("--set", f"{name}={value}")]
    command += ["--val", options.val] if options.val else []
    command += ["--vgg", str(options.features)] if perceptual == "local" else []
    command += ["--max-minutes", f"{minutes:.2f}"] if minutes is not None else []
    return command + list(options.more)


def evaluate_command(variant: str, options: argparse.Namespace) -> list[str]:
    """The command that measures a variant's averaged weights on the held-out clips."""
    folder = options.out / variant
    command = [sys.executable, "-c", "from synhead.app.cli import main; main()", "evaluate", str(folder / "weights")]
    command += ["--data", options.val or options.data, "--frames", str(options.frames), "--own", "synhead"]
    return [*command, "--save-frames", str(folder / "frames"), "--out", str(folder / "evaluation")]


def iterations_done(variant: str, options: argparse.Namespace) -> int:
    """Of the newest checkpoint; validation figures may be older."""
    newest = options.out / variant / "checkpoints" / "last"
    return int(newest.read_text().rpartition("-")[2]) if newest.is_file() else 0


def figures(variant: str, options: argparse.Namespace) -> dict[str, float]:
    """The last validation, the speed, and what ``synhead evaluate`` could measure here."""
    folder = options.out / variant
    metrics, report = folder / "metrics.jsonl", folder / "evaluation" / "report.json"
    last: dict[str, float] = {}
    for line in metrics.read_text().splitlines() if metrics.is_file() else ():
        last |= json.loads(line)
    found = {name: last[name] for name in ("speed/samples_per_second", "validation/psnr") if name in last}
    if report.is_file():
        row = json.loads(report.read_text())["rows"][0]["figures"]
        found |= {name: row[name]["value"] for name in EVALUATED if row.get(name, {}).get("value") is not None}
    return found


def finish(variant: str, options: argparse.Namespace, minutes: float | None) -> bool:
    """Train and evaluate a variant, or go on with it; whether it is finished."""
    print(f"{variant}: training", flush=True)
    subprocess.run(train_command(variant, options, minutes), check=True)
    done = iterations_done(variant, options)
    if done < options.iterations:
        print(f"{variant}: cut short at iteration {done}; call again", flush=True)
        return False
    if options.frames:
        subprocess.run(evaluate_command(variant, options), check=True)
    found = {"iteration": done, **figures(variant, options)}
    (options.out / variant / "finished.json").write_text(json.dumps(found) + "\n")
    return True


def write_table(options: argparse.Namespace) -> None:
    """All variants that are finished, those of earlier calls too."""
    finished = {name: options.out / name / "finished.json" for name in VARIANTS}
    table = {name: json.loads(path.read_text()) for name, path in finished.items() if path.is_file()}
    for variant, row in sorted(table.items(), key=lambda item: -item[1].get("psnr", item[1].get("validation/psnr", 0))):
        print(f"{variant:28}" + "  ".join(f"{name} {value:.4g}" for name, value in row.items()))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "losses.json").write_text(json.dumps(table, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not finished, draw, and print the table."""
    options = parse_arguments(argv)
    if options.features is None and any(VARIANTS[name][0] == "local" for name in options.only):
        sys.exit("give --features (made by benchmarks/features.py), or leave the features* variants out with --only")
    begun, waiting = time.monotonic(), 0
    for variant in options.only:
        if (options.out / variant / "finished.json").is_file():
            continue
        left = None if options.max_minutes is None else options.max_minutes - (time.monotonic() - begun) / 60
        if left is not None and left <= 0:
            print(f"{variant}: no time left; call again", flush=True)
            waiting += 1
        elif not finish(variant, options, left):
            waiting += 1
    write_table(options)
    return 1 if waiting else 0


if __name__ == "__main__":
    sys.exit(main())
