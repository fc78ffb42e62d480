"""Gradients of one generator pass: bf16 with and without the training kernels, each against float32 without.

    python benchmarks/gradients.py --preset paper base --batch 4
    python benchmarks/gradients.py --preset tiny --batch 2 --device cpu        (no kernels there: two equal rows)

Smooth random pictures, all losses on. Parameters that start at zero, or all alike, are moved, so that every gradient
counts. A row gives, over parameters, the cosine with float32's gradient and how much larger the error is than without
kernels. Exit code 1 if a term or a gradient is no number, or if the kernels' whole gradient points elsewhere than the
plain one's does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synhead.config import preset
from synhead.geometry.triton_there import takes_kernels
from synhead.losses.config import LossConfig
from synhead.losses.objective import GeneratorObjective
from synhead.losses.perceptual import build_perceptual
from synhead.training.config import ExecutionConfig, TrainingConfig
from synhead.training.distributed import make_fabric
from synhead.training.half_weights import HalfWeights
from synhead.training.randomness import warps_for
from synhead.training.state import TrainingState, build
from synhead.training.step import GeneratorPass, Micro, frozen

Gradients = Mapping[str, Tensor]

MODES = ("float32", "bf16", "bf16, kernels", "bf16, kernels, half weights")


@contextmanager
def plain() -> Iterator[None]:
    """No kernels, in whatever module of the package asks for them."""
    with ExitStack() as stack:
        for name, module in sorted(sys.modules.items()):
            if name.startswith("synhead.") and name != takes_kernels.__module__ and hasattr(module, "takes_kernels"):
                stack.enter_context(patch.object(module, "takes_kernels", lambda _: False))
        yield


def stirred(state: TrainingState) -> None:
    """Move what is constant."""
    generator = torch.Generator().manual_seed(0)
    for parameter in state.model.parameters():
        if float(parameter.detach().std(correction=0)) == 0:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.02 * noise.to(parameter.device)


def pictures(batch: int, side: int, device: torch.device) -> Micro:
    """Source and driving, smooth, in [-1, 1]."""
    generator = torch.Generator().manual_seed(1)
    small = (torch.rand(batch, 3, 8, 8, generator=generator).to(device) * 2 - 1 for _ in range(2))
    source, driving = (
        F.interpolate(x, size=(side, side), mode="bicubic").clamp(-1, 1).contiguous(memory_format=torch.channels_last)
        for x in small
    )
    return Micro(source, driving, warps_for(0, 1, slice(0, batch), batch, device))


def differentiate(mode: str, state: TrainingState, objective: GeneratorObjective, micro: Micro) -> Gradients:
    """The gradients of one pass; prints its terms."""
    model = HalfWeights(state.model) if "half weights" in mode else state.model
    kind = micro.source_image.device.type
    half = mode != MODES[0]
    torch.backends.cudnn.allow_tf32 = half
    state.model.zero_grad(set_to_none=True)
    with ExitStack() as stack:
        stack.enter_context(frozen(state.discriminator))
        if "kernels" not in mode:
            stack.enter_context(plain())
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            result = GeneratorPass(model, objective)(*micro.inputs, 1, state.discriminator, None)
        result.total.backward()
    print(f"{mode:28}", {name: round(float(value), 5) for name, value in result.terms.items()}, flush=True)
    return {n: p.grad.float().clone() for n, p in state.model.named_parameters() if p.grad is not None}


def compare(found: Gradients, wanted: Gradients, plainly: Gradients) -> tuple[str, float]:
    """A row about ``found``; the cosine of the whole gradient."""
    cosines = sorted(float(F.cosine_similarity(found[n].flatten(), wanted[n].flatten(), dim=0)) for n in wanted)
    whole = float(F.cosine_similarity(flat(found, wanted), flat(wanted, wanted), dim=0))
    floors = {n: 1e-3 * float(wanted[n].norm()) + 1e-12 for n in wanted}
    worse = {n: distance(found, wanted, n) / (distance(plainly, wanted, n) + floors[n]) for n in wanted}
    worst = sorted(worse, key=lambda n: -worse[n])[:3]
    named = ", ".join(f"{n} {worse[n]:.2f}" for n in worst)
    row = f"whole {whole:.5f}  median {median(cosines):.5f}  tenth {cosines[len(cosines) // 10]:.3f}"
    return f"{row}  error over bf16's: median {median(worse.values()):.3f}, largest {named}", whole


def flat(gradients: Gradients, names: Gradients) -> Tensor:
    """All in one row."""
    return torch.cat([gradients[name].flatten() for name in names])


def distance(one: Gradients, other: Gradients, name: str) -> float:
    """Of one parameter's gradients."""
    return float((one[name] - other[name]).norm())


def check(name: str, batch: int, device: str) -> bool:
    """Print a preset's rows; whether they are sound."""
    fabric = make_fabric(ExecutionConfig(precision="fp32"), device)
    losses = LossConfig(perceptual="vgg19-random", adversarial_start=0)
    config = preset(name)
    state = build(config, TrainingConfig(batch=batch), fabric.device)
    stirred(state)
    objective: nn.Module = GeneratorObjective(losses, build_perceptual(losses)).to(fabric.device)
    objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(objective, GeneratorObjective)
    micro = pictures(batch, config.image_size, fabric.device)
    print(f"{name}, batch {batch}, {fabric.device}")
    found = {mode: differentiate(mode, state, objective, micro) for mode in MODES}
    wanted, rounded = found[MODES[0]], found[MODES[1]]
    sound, reference = True, 0.0
    for mode in MODES[1:]:
        row, whole = compare(found[mode], wanted, rounded)
        finite = all(bool(gradient.isfinite().all()) for gradient in found[mode].values())
        reference = reference or whole
        sound &= finite and whole > reference - 0.01
        print(f"{mode:28} {row}{'' if finite else '  NOT FINITE'}", flush=True)
    return sound


def main(argv: Sequence[str] | None = None) -> int:
    """Check every preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=["paper", "base"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "cpu"))
    options = parser.parse_args(argv)
    failed = [name for name in options.preset if not check(name, options.batch, options.device)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
