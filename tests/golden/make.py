"""Writes golden.npz: ``python -m tests.golden.make``. Only after the parity tests have passed on the same code.

In float64: batch norm over two images amplifies the rounding of float32 until machines differ by several percent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from synhead.config import preset
from synhead.geometry.tps import RandomWarp
from synhead.losses.config import LossConfig
from synhead.losses.objective import GeneratorObjective
from synhead.model.discriminator import Discriminator
from synhead.model.talking_head import TalkingHead
from tests.golden.fill import array, fill_, images

FILE = Path(__file__).parent / "golden.npz"


def inference() -> dict[str, np.ndarray]:
    """Every stage of the tiny model."""
    model = fill_(TalkingHead(preset("tiny"))).double().eval()
    x = images(4, 64).double()
    with torch.no_grad():
        source = model.observe(x[:2])
        driving = model.keypoint_detector(0.6 * x[:2] + 0.4 * x[2:])
        animation = model.animate(source, driving)
    found = {
        "source.position": source.keypoints.position,
        "driving.position": driving.position,
        "driving.jacobian": driving.jacobian,
        "flow0": animation.coarse.motion.grid,
        "occlusion0": animation.coarse.motion.visibility,
        "output": animation.image,
    }
    for i, trace in enumerate(animation.traces, start=1):
        found |= {
            f"scale{i}.flow": trace.motion.grid,
            f"scale{i}.occlusion": trace.motion.visibility,
            f"scale{i}.warped": trace.warped[:, ::4],
            f"scale{i}.compensated": trace.compensated[:, ::4],
        }
    return {name: value.numpy() for name, value in found.items()}


def training() -> dict[str, np.ndarray]:
    """All loss terms and some gradient norms of one training step with the adversarial part on."""
    model = fill_(TalkingHead(preset("tiny"))).double().train()
    critic = fill_(Discriminator(width=8)).double().train().requires_grad_(False)
    x = images(4, 64).double()
    driving = 0.6 * x[:2] + 0.4 * x[2:]
    identity = torch.eye(2, 3, dtype=torch.float64).expand(2, 2, 3)
    warp = RandomWarp(
        affine=identity + 0.05 * torch.from_numpy(array("affine", (2, 2, 3))),
        bend=0.005 * torch.from_numpy(array("bend", (2, 1, 25))),
    )
    objective = GeneratorObjective(LossConfig(perceptual="none", adversarial_start=0), None)
    result = model(x[:2], driving, warp.warp_frame(driving))
    report = objective(result, driving, warp=warp, iteration=1, critic=critic)
    report.total.backward()
    found = {f"loss.{name}": value.numpy() for name, value in report.terms.items()}
    norms = {name: p.grad.norm().numpy() for name, p in model.named_parameters() if p.ndim > 1}
    return found | {f"gradient.{name}": value for name, value in norms.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    recorded = inference() | {f"train.{name}": value for name, value in training().items()}
    np.savez_compressed(FILE, **{name: value.astype(np.float32) for name, value in recorded.items()})
