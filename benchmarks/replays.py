"""Steps replayed as CUDA graphs beside steps that are computed: loss terms and gradients of the same batches.

    python benchmarks/replays.py --preset paper base --recipe published synhead --batch 4

A recording keeps what was not told to change: a number that Python worked out for one batch would be used for all. So
every batch here is another one (pictures, warps, exposures, landmarks), weights do not move, and what a replay gives
is compared with what the same passes give without recording. Three lines a case: the computed steps against
themselves (a GPU's sums come in another order each time), the replayed ones against them, and what a replay that
never changed would give. Landmark terms are on with recipe synhead. Exit code 1 if a replay is further off than that
first line allows.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn, optim

from synhead.config import preset
from synhead.losses.objective import GeneratorObjective
from synhead.losses.perceptual import build_perceptual
from synhead.losses.regions import FacePoints
from synhead.training.config import RecipeName, RunConfig, recipe
from synhead.training.distributed import make_fabric
from synhead.training.randomness import exposures_for, warps_for
from synhead.training.recording import Recorder, cuda_recorder
from synhead.training.state import TrainingState, build
from synhead.training.step import Micro, make_steps
from synhead.types import FacePoint

MakeRecorder = Callable[[TrainingState], Recorder]

_ROUNDS, _WARM = 6, 3
_SLACK = 1e-3


@dataclass(frozen=True)
class Taken:
    """Of one step: every loss term, and the gradients of both sides."""

    terms: Mapping[str, float]
    gradients: Mapping[str, Tensor]


def configured(name: str, kind: RecipeName, batch: int) -> RunConfig:
    """Everything on from the first step; landmark terms with our own recipe."""
    config = recipe(kind, preset(name))
    weights = config.losses.weights
    if kind == "synhead":
        enough = config.model.keypoints.count >= len(FacePoint)
        weights = replace(weights, landmarks=20.0, openings=20.0 * enough, landmark_flow=10.0, regions=0.5)
    losses = replace(
        config.losses, perceptual="vgg19-random", adversarial_start=0, exposure_spread=0.2, weights=weights
    )
    execution = replace(config.training.execution, precision="bf16", cuda_graphs=False)
    return replace(config, losses=losses, training=replace(config.training, batch=batch, execution=execution))


def batches(config: RunConfig, device: torch.device) -> list[Micro]:
    """Smooth pictures in [-1, 1], all different; landmarks in the middle of the picture."""
    size, side = config.training.batch, config.model.image_size
    generator = torch.Generator().manual_seed(1)
    found = []
    for index in range(1, _ROUNDS + 1):
        small = torch.rand(2, size, 3, 8, 8, generator=generator) * 2 - 1
        source, driving = (
            F.interpolate(each, size=(side, side), mode="bicubic").clamp(-1, 1).to(device) for each in small
        )
        by_pixel = torch.channels_last
        warp = warps_for(0, index, slice(0, size), size, device)
        spots = torch.rand(2, size, len(FacePoint), 2, generator=generator).to(device) - 0.5
        points = FacePoints(*spots) if config.losses.weights.landmarks else None
        exposure = exposures_for(0, index, slice(0, size), size, config.losses.exposure_spread).to(device)
        pair = (image.contiguous(memory_format=by_pixel) for image in (source, driving))
        found.append(Micro(*pair, warp, points, exposure))
    return found


def held(optimizer: optim.Optimizer, names: Mapping[nn.Parameter, str], into: dict[str, Tensor]) -> None:
    """Instead of a step: gradients are noted, weights stay."""

    def step() -> None:
        for group in optimizer.param_groups:
            into.update({names[p]: p.grad.float().clone() for p in group["params"] if p.grad is not None})

    optimizer.step = step  # type: ignore[method-assign, assignment]


def take(
    config: RunConfig, objective: GeneratorObjective, fabric: Fabric, record: MakeRecorder | None = None
) -> list[Taken]:
    """Every step after those that come before a recording. ``record``: what makes one, if passes are recorded."""
    state = build(config.model, config.training, fabric.device)
    recorder = None if record is None else record(state)
    steps = make_steps(fabric, state, objective, config.training, recorder)
    names = {p: f"{side}.{name}" for side in ("model", "discriminator") for name, p in named(state, side)}
    found = []
    for index, micro in enumerate(batches(config, fabric.device)):
        gradients: dict[str, Tensor] = {}
        for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
            held(optimizer, names, gradients)
        made = steps.generator_step([micro], adversarial=True)
        judged = steps.discriminator_step([micro], [each.image for each in made])
        if index >= _WARM:
            terms = {**made[0].terms, **judged[0].terms}
            found.append(Taken({name: float(value) for name, value in terms.items()}, gradients))
    return found


def named(state: TrainingState, side: str) -> list[tuple[str, nn.Parameter]]:
    """Of the model or the discriminator."""
    return list(cast(nn.Module, getattr(state, side)).named_parameters())


def apart(found: Sequence[Taken], wanted: Sequence[Taken]) -> tuple[float, float, str]:
    """The largest difference of a term, relative, and of a step's gradients: 1 less their cosine; and which term."""
    term, where, turn = 0.0, "", 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        for name, value in theirs.terms.items():
            difference = abs(ours.terms[name] - value) / (abs(value) + 1e-3)
            if not difference <= term:  # no number is the largest
                term, where = difference, name
        rows = [torch.cat([each.gradients[name].flatten() for name in theirs.gradients]) for each in (ours, theirs)]
        cosine = float(F.cosine_similarity(rows[0].double(), rows[1].double(), dim=0))
        turn = max(turn, 1 - cosine) if math.isfinite(cosine) else math.nan
    return term, turn, where


def check(name: str, kind: RecipeName, batch: int, device: str, record: MakeRecorder) -> bool:
    """Print a case's lines; whether its replays are sound."""
    config = configured(name, kind, batch)
    fabric = make_fabric(config.training.execution, device)
    objective = GeneratorObjective(config.losses, build_perceptual(config.losses)).to(fabric.device)
    plain = take(config, objective, fabric)
    lines = {
        "computed again": apart(take(config, objective, fabric), plain),
        "replayed": apart(take(config, objective, fabric, record), plain),
        "another batch": apart([*plain[1:], plain[0]], plain),
    }
    print(f"{name}, {kind}, batch {batch}, {fabric.device}: {len(plain[0].terms)} terms")
    for label, (term, turn, where) in lines.items():
        print(f"  {label:15} terms differ by up to {term:.1e} ({where or 'none'}), gradients turn by {turn:.1e}")
    (term, turn, _), (noise, spread, _) = lines["replayed"], lines["computed again"]
    return term <= 2 * noise + _SLACK and turn <= 2 * spread + _SLACK


def main(argv: Sequence[str] | None = None) -> int:
    """Check every preset with every recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=["paper", "base"])
    parser.add_argument("--recipe", nargs="+", default=["published", "synhead"], choices=("published", "synhead"))
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        parser.error("CUDA graphs need a GPU")
    cases = [(name, cast(RecipeName, kind)) for name in options.preset for kind in options.recipe]
    device = torch.device("cuda")
    failed = [case for case in cases if not check(*case, options.batch, "cuda", lambda _: cuda_recorder(device))]
    print("failed: " + ", ".join(map(str, failed)) if failed else "all replays agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
