"""Which weights a command runs: those named, those found, or untrained ones, and it says which."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from synhead.config import ConfigError

if TYPE_CHECKING:
    import torch

    from synhead.inference.animator import Animator, AnimatorOptions
    from synhead.model.talking_head import TalkingHead

CHECKPOINT_VARIABLE = "SYNHEAD_CHECKPOINT"
DEFAULT_PRESET = "base"
SEED = 0

_PACKAGE = Path(__file__).resolve().parents[1]
BUNDLED = (_PACKAGE.parents[1] / "weights" / "base", _PACKAGE / "weights" / "base")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Either a checkpoint (folder or hub id), or a preset with untrained weights of a fixed seed."""

    checkpoint: str | None = None
    preset: str = DEFAULT_PRESET


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """What runs the model: the name of an engine, or ``auto``: see engine_for. ``graph``: see EngineOptions."""

    name: str = "auto"
    graph: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What weights are called, and whether they have been trained."""

    name: str
    trained: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel(ModelFacts):
    """A model on its device."""

    model: TalkingHead


def find_checkpoint() -> str | None:
    """The checkpoint used when none is named: of the environment variable, or the one that ships with Synhead."""
    named = os.environ.get(CHECKPOINT_VARIABLE)
    return named or next((str(folder) for folder in BUNDLED if folder.is_dir()), None)


def choose(checkpoint: str | None, preset: str | None) -> ModelChoice:
    """The user's choice; raises ConfigError if both are given."""
    if checkpoint and preset:
        raise ConfigError("--checkpoint and --preset exclude each other; a preset here means untrained weights")
    if preset:
        return ModelChoice(preset=preset)
    return ModelChoice(checkpoint=checkpoint or find_checkpoint())


def describe(choice: ModelChoice) -> ModelFacts:
    """The chosen model without loading it. Raises CheckpointError."""
    from synhead.weights import checkpoint, hub

    if choice.checkpoint is None:
        return ModelFacts(name=f"preset {choice.preset}, seed {SEED}", trained=False)
    info = checkpoint.read_info(hub.resolve(choice.checkpoint))
    return ModelFacts(name=choice.checkpoint, trained=info.trained, notes=info.notes)


def load(choice: ModelChoice, *, device: torch.device | str = "cpu") -> LoadedModel:
    """The chosen model in eval mode. Raises CheckpointError or ConfigError."""
    from synhead.weights import checkpoint, hub

    facts = describe(choice)
    if choice.checkpoint is None:
        model = untrained(choice.preset, device=device)
    else:
        model = checkpoint.load(hub.resolve(choice.checkpoint), device=device)
    return LoadedModel(model=model, name=facts.name, trained=facts.trained, notes=facts.notes)


def untrained(preset: str, *, device: torch.device | str = "cpu", size: int | None = None) -> TalkingHead:
    """A model of that preset with random weights, the same at every call. ``size``: of its pictures, if another."""
    import torch

    from synhead.config import preset as configuration
    from synhead.model.talking_head import TalkingHead

    config = configuration(preset)
    config = config if size is None else replace(config, image_size=size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return TalkingHead(config).to(device).eval()


def load_animator(
    choice: ModelChoice,
    *,
    device: str,
    precision: Literal["auto", "fp32", "bf16"],
    options: AnimatorOptions,
    engine: EngineChoice | None = None,
) -> tuple[Animator, LoadedModel]:
    """The chosen model ready to animate, and what it is. Raises CheckpointError or ConfigError."""
    from synhead.inference.animator import Animator, select_device, select_precision
    from synhead.inference.engines import EngineOptions, engine_for, engine_named, make_engine

    chosen, engine = select_device(device), engine or EngineChoice()
    rounded = select_precision(precision, chosen)
    name = engine_for(chosen, rounded) if engine.name == "auto" else engine_named(engine.name)
    how = EngineOptions(name=name, precision=rounded, graph=engine.graph)
    loaded = load(choice, device=chosen)
    return Animator(loaded.model, options, engine=make_engine(loaded.model, how)), loaded
