"""A model small enough to train in a test, endless random pairs, and a run built from them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor, nn

from synhead.config import (
    AppearanceConfig,
    CoarseMotionConfig,
    HourglassConfig,
    KeypointConfig,
    ModelConfig,
    MotionConfig,
)
from synhead.data.pairs import PairBatch
from synhead.losses.config import LossConfig
from synhead.losses.objective import GeneratorObjective
from synhead.training.checkpoint import CheckpointFolder, read
from synhead.training.config import EveryConfig, TrainingConfig
from synhead.training.restarts import CodeRestarts
from synhead.training.run import Run
from synhead.training.state import build, restore
from synhead.training.step import make_steps
from synhead.training.tracking import JsonlTracker, Trackers

torch.set_num_threads(1)

T = TypeVar("T")

LOSSES = LossConfig(perceptual="none", adversarial_start=2)
TRAINING = TrainingConfig(
    batch=2,
    iterations=6,
    discriminator_width=4,
    every=EveryConfig(log=1, image=0, validate=0, checkpoint=2, check=1),
)


def micro_model() -> ModelConfig:
    """Two scales of 24 and 48 pixels: the smallest image that the discriminator takes."""
    return ModelConfig(
        name="micro",
        image_size=48,
        flow_size=16,
        feature_widths=(16, 8),
        norm_groups=4,
        keypoints=KeypointConfig(count=3, hourglass=HourglassConfig(width=4, blocks=2, max_width=8)),
        coarse_motion=CoarseMotionConfig(hourglass=HourglassConfig(width=4, blocks=2, max_width=8)),
        motion=MotionConfig(codes=8, width=8, layers=1, heads=2, refine_width=8),
        appearance=AppearanceConfig(codes=8, width=8, layers=1, heads=2),
    )


class RandomPairs:
    """A resumable stream of random images: pair i depends on i alone, whatever the number of ranks."""

    def __init__(self, size: int = 48, *, rank: int = 0, world_size: int = 1, bad_from: int | None = None) -> None:
        self.size, self.rank, self.world_size, self.bad_from = size, rank, world_size, bad_from
        self.samples = 0

    def next_batch(self, batch: int) -> PairBatch:
        first = self.samples + self.rank * batch
        self.samples += batch * self.world_size
        images = torch.stack([self._pair(index) for index in range(first, first + batch)])
        return PairBatch(source=images[:, 0], driving=images[:, 1])

    def _pair(self, index: int) -> torch.Tensor:
        pair = torch.rand(2, 3, self.size, self.size, generator=torch.Generator().manual_seed(index)) * 2 - 1
        return pair * float("nan") if self.bad_from is not None and index >= self.bad_from else pair

    def state_dict(self) -> dict[str, int]:
        return {"samples": self.samples}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.samples = state["samples"]


class RepeatingRecorder:
    """On the CPU, a recording that repeats its work: writes the same places, and leaves no trace when it is made."""

    def __init__(self, *modules: nn.Module) -> None:
        self.modules = modules
        self.recorded = 0

    def warm_up(self, work: Callable[[], T]) -> T:
        return work()

    def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        self.recorded += 1
        before = [copy.deepcopy(module.state_dict()) for module in self.modules]
        results = work()
        for module, state in zip(self.modules, before, strict=True):
            module.load_state_dict(state)
        parameters = [p for module in self.modules for p in module.parameters() if p.grad is not None]
        places = [p.grad for p in parameters]

        def replay() -> None:
            for parameter in parameters:
                parameter.grad = None
            for place, tensor in zip(_tensors(results), _tensors(work()), strict=True):
                place.copy_(tensor)
            for parameter, place in zip(parameters, places, strict=True):
                assert place is not None
                assert parameter.grad is not None
                place.copy_(parameter.grad)
                parameter.grad = None

        return results, replay


def _tensors(tree: object) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree
    return [tensor for each in values for tensor in _tensors(each)]  # type: ignore[attr-defined]


def make_run(
    fabric: Fabric,
    folder: Path,
    config: TrainingConfig = TRAINING,
    pairs: RandomPairs | None = None,
    *,
    losses: LossConfig = LOSSES,
    recorded: bool = False,
) -> Run:
    """A run in ``folder`` that goes on from its last checkpoint, if there is one; its passes ``recorded`` or not."""
    folder.mkdir(parents=True, exist_ok=True)
    state = build(micro_model(), config, fabric.device)
    pairs = pairs or RandomPairs(rank=fabric.global_rank, world_size=fabric.world_size)
    checkpoints = CheckpointFolder(folder / "checkpoints", keep=config.keep_checkpoints)
    checkpoints.clean()
    restarts = CodeRestarts(fabric, state, config)
    latest = checkpoints.latest()
    if latest is not None:
        saved = read(latest)
        restore(state, saved)
        restarts.load(saved.tensors.get("codes", {}))
        pairs.load_state_dict(saved.scalars["data"])
    recorder = RepeatingRecorder(state.model, state.discriminator) if recorded else None
    metrics = JsonlTracker(folder / "metrics.jsonl", after=state.counters.iteration) if fabric.is_global_zero else None
    return Run(
        config=config,
        losses=losses,
        steps=make_steps(fabric, state, GeneratorObjective(losses, None), config, recorder),
        restarts=restarts,
        pairs=pairs,
        folder=folder,
        checkpoints=checkpoints,
        trackers=Trackers([metrics] if metrics else []),
    )


def write_clips(folder: Path) -> Path:
    """Three clips of four frames to train on, one to validate with, as VoxCeleb lays them out."""
    generator = np.random.default_rng(0)
    for split, names in {"train": ("a#1#0#4.mp4", "a#2#0#4.mp4", "b#1#0#4.mp4"), "test": ("c#1#0#4.mp4",)}.items():
        for name in names:
            (folder / split / name).mkdir(parents=True)
            for index in range(4):
                frame = generator.integers(0, 256, (48, 48, 3), dtype=np.uint8)
                Image.fromarray(frame).save(folder / split / name / f"{index:07d}.png")
    return folder


def shorter(config: TrainingConfig, iterations: int) -> TrainingConfig:
    """The same run, ended earlier."""
    return replace(config, iterations=iterations)
