"""How a run is trained: frozen, keyword-only, standard library only. Defaults are the published recipe (spec D)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from synhead.config import ModelConfig, from_json, require, to_json
from synhead.data.config import ColourJitter, CropJitter, DataConfig
from synhead.losses.config import LossConfig, LossWeights

Precision = Literal["fp32", "tf32", "bf16"]
CompileMode = Literal["off", "default", "reduce-overhead", "max-autotune-no-cudagraphs"]
Schedule = Literal["constant", "multistep", "cosine"]
EmaScope = Literal["generator", "all"]
DeadCodes = Literal["keep", "split"]
RecipeName = Literal["published", "synhead"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adam and its learning rate; :meth:`rate_at` is a pure function, so a schedule has no state to save.

    ``multistep``: multiplied by ``factor`` after each milestone: iteration ``milestone + 1`` is the first with the
    lower rate (spec D). ``cosine``: from ``rate`` down to ``floor * rate`` at the last iteration.
    ``warmup``, ``restart_warmup``: iterations of linear rise at the start and after a warm restart.
    ``discriminator_factor``: the discriminator's rate as a multiple.
    """

    rate: float = 8e-5
    betas: tuple[float, ...] = (0.9, 0.99)
    epsilon: float = 1e-8
    schedule: Schedule = "multistep"
    milestones: tuple[int, ...] = (200_000, 225_000)
    factor: float = 0.5
    floor: float = 0.05
    warmup: int = 0
    restart_warmup: int = 200
    discriminator_factor: float = 1.0

    def __post_init__(self) -> None:
        require(self.rate > 0, "optimizer.rate must be positive")
        require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "optimizer.betas: two numbers in [0, 1)")
        require(self.warmup >= 0, "optimizer.warmup must not be negative")
        require(self.restart_warmup >= 0, "optimizer.restart_warmup must not be negative")
        require(0 <= self.floor <= 1, "optimizer.floor must be in [0, 1]")
        require(self.discriminator_factor > 0, "optimizer.discriminator_factor must be positive")

    def rate_at(self, iteration: int, *, last: int, restarted_at: int = 0) -> float:
        """Learning rate of an iteration (from 1) of a run of ``last`` iterations.

        ``restarted_at``: iteration of a warm restart, after which the rate rises again over ``restart_warmup``.
        """
        scale = {"constant": 1.0, "multistep": self._multistep(iteration), "cosine": self._cosine(iteration, last)}
        warm = min(1.0, iteration / self.warmup) if self.warmup else 1.0
        if restarted_at and self.restart_warmup:
            warm *= min(1.0, (iteration - restarted_at) / self.restart_warmup)
        return self.rate * scale[self.schedule] * warm

    def _multistep(self, iteration: int) -> float:
        return float(self.factor ** sum(iteration > milestone for milestone in self.milestones))

    def _cosine(self, iteration: int, last: int) -> float:
        progress = min(1.0, iteration / max(1, last))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class EmaConfig:
    """Exponential moving average: of the generator network's parameters (spec D), or of all, buffers included."""

    decay: float = 0.995
    scope: EmaScope = "generator"

    def __post_init__(self) -> None:
        require(0 <= self.decay < 1, "ema.decay must be in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """How the arithmetic is carried out; nothing here changes what is computed, beyond rounding.

    ``cuda_graphs``: passes and their backwards are recorded and replayed, on GPUs. None: where that was seen to change
    nothing (:func:`synhead.training.recording.graphs_wanted`), and computed as they are where recording fails.
    """

    precision: Precision = "fp32"
    compile: CompileMode = "off"
    cuda_graphs: bool | None = None
    channels_last: bool = True
    sync_batch_norm: bool = False

    def __post_init__(self) -> None:
        alone = not (self.cuda_graphs and self.sync_batch_norm)
        require(alone, "execution.cuda_graphs cannot wait for other processes: leave sync_batch_norm off")
        once = not (self.cuda_graphs and self.compile == "reduce-overhead")
        require(once, "execution.compile=reduce-overhead records graphs of its own: use it or cuda_graphs, not both")


@dataclass(frozen=True, kw_only=True)
class EveryConfig:
    """What happens every so many iterations. 0 turns validation, images and weights off.

    ``weights``: the averaged weights are kept as a checkpoint that inference can load, ``weights-ITERATION``.
    """

    log: int = 100
    image: int = 1000
    validate: int = 5000
    checkpoint: int = 5000
    weights: int = 0
    check: int = 10

    def __post_init__(self) -> None:
        require(self.log > 0 and self.checkpoint > 0 and self.check > 0, "every.log, checkpoint, check: at least 1")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run. ``batch`` is the number of pairs of one process in one forward pass.

    An iteration, counted from 1, is one optimiser step on ``batch * accumulate * processes`` pairs. ``gradient_norm``
    clips the generator side's gradient. ``dead_codes``: ``split`` moves codes that no scale chose since the last
    restart next to much-used ones, every ``restart_every`` iterations. Neither is part of the published recipe.
    """

    iterations: int = 250_000
    batch: int = 4
    accumulate: int = 1
    seed: int = 0
    gradient_norm: float | None = None
    dead_codes: DeadCodes = "keep"
    restart_every: int = 1000
    keep_checkpoints: int = 3
    discriminator_width: int = 64
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    every: EveryConfig = field(default_factory=EveryConfig)

    def __post_init__(self) -> None:
        require(self.iterations > 0, "training.iterations must be positive")
        require(self.batch > 0 and self.accumulate > 0, "training.batch and accumulate must be positive")
        require(self.keep_checkpoints > 0, "training.keep_checkpoints must be at least 1")
        require(self.gradient_norm is None or self.gradient_norm > 0, "training.gradient_norm must be positive")
        require(self.discriminator_width > 0, "training.discriminator_width must be positive")
        require(self.restart_every > 0, "training.restart_every must be positive")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run's result; written as ``config.json`` into its folder.

    ``recipe``: what it began from, whatever was changed since; None in runs older than this field.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeName | None = None

    def __post_init__(self) -> None:
        require(
            self.data.size == self.model.image_size,
            f"data.size {self.data.size} differs from model.image_size {self.model.image_size}",
        )


def override(config: RunConfig, changes: Mapping[str, object]) -> RunConfig:
    """``config`` with fields changed by dotted name, such as ``training.optimizer.rate``; None leaves a field alone.

    Raises ConfigError naming an unknown field or an unfit value.
    """
    require("recipe" not in changes, "a recipe is more than one setting: choose it by --recipe when a run begins")
    tree = json.loads(to_json(config))
    for name, value in changes.items():
        if value is None:
            continue
        *path, leaf = name.split(".")
        branch = tree
        for part in path:
            branch = branch.get(part) if isinstance(branch, dict) else None
        require(isinstance(branch, dict) and leaf in branch, f"unknown setting {name!r}; see config.json of a run")
        branch[leaf] = value
    return from_json(RunConfig, json.dumps(tree))


def recipe(name: RecipeName, model: ModelConfig) -> RunConfig:
    """``published``: spec C and D as they are. ``synhead``: ours, for few people and no ImageNet VGG19: bf16,
    warm-up and cosine, an average of the whole model, pixels and structure before random features, no I_g^1,
    appearance codes from a quarter of the driving images, dead codes moved, balanced and augmented pairs.
    """
    data = DataConfig(size=model.image_size)
    if name == "published":
        return RunConfig(model=model, data=data, recipe=name)
    training = TrainingConfig(
        batch=32,
        iterations=40_000,
        gradient_norm=10.0,
        dead_codes="split",
        restart_every=400,
        optimizer=OptimizerConfig(rate=2e-4, schedule="cosine", warmup=200),
        ema=EmaConfig(decay=0.998, scope="all"),
        execution=ExecutionConfig(precision="bf16"),  # not compiled: it takes minutes (docs/training.md)
        every=EveryConfig(log=50, image=1000, validate=1000, checkpoint=2000),
    )
    losses = LossConfig(
        perceptual="vgg19-random",
        perceptual_factors=(2, 4, 8),
        appearance_share=0.25,
        # random features weigh 20 times the pixels unless held back, and colours drift
        weights=LossWeights(pixel=10.0, perceptual=0.5, low_resolution=0.0, ms_ssim=1.0, laplacian=1.0),
    )
    data = DataConfig(
        size=model.image_size,
        sampling="balanced",
        person_temperature=0.5,
        generated_weight=0.5,
        far_probability=0.25,
        colour=ColourJitter(probability=0.5),
        crop=CropJitter(probability=0.5),
    )
    return RunConfig(model=model, training=training, losses=losses, data=data, recipe=name)
