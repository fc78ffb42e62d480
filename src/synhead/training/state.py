"""Everything a run is: networks, optimisers, average and counters, and their exact form on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from synhead.config import ModelConfig
from synhead.losses.config import LossConfig
from synhead.model.discriminator import Discriminator
from synhead.model.motion_compensation import MotionCompensation
from synhead.model.talking_head import TalkingHead
from synhead.training.checkpoint import Snapshot
from synhead.training.config import OptimizerConfig, TrainingConfig
from synhead.training.ema import ModelEma
from synhead.weights.checkpoint import non_finite
from synhead.weights.errors import CheckpointError


@dataclass(slots=True)
class Counters:
    """``iteration``: optimiser steps done. ``samples``: pairs seen by all processes. ``seconds``: time in the loop.

    ``restarted_at``: iteration of the last warm restart (0: none); the rate warms up after it. ``best_psnr``: of the
    validations so far.
    """

    iteration: int = 0
    samples: int = 0
    seconds: float = 0.0
    restarted_at: int = 0
    best_psnr: float = 0.0


@dataclass(slots=True)
class TrainingState:
    """One run in memory."""

    model: TalkingHead
    discriminator: Discriminator
    ema: ModelEma
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    counters: Counters


def build(model_config: ModelConfig, config: TrainingConfig, device: torch.device) -> TrainingState:
    """A new run's state. Weights depend on ``config.seed`` alone: equal on all ranks and devices."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model, discriminator = TalkingHead(model_config), Discriminator(config.discriminator_width)
    if config.execution.sync_batch_norm:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        nn.SyncBatchNorm.convert_sync_batchnorm(discriminator)
    layout = torch.channels_last if config.execution.channels_last else torch.contiguous_format
    for module in (model, discriminator):
        module.to(device=device).to(memory_format=layout)  # type: ignore[call-overload]
    model.train()
    discriminator.train()
    generator_groups = [list(model.generator_parameters()), list(model.motion_estimator_parameters())]
    return TrainingState(
        model=model,
        discriminator=discriminator,
        ema=ModelEma(model, config.ema),
        generator_optimizer=adam(generator_groups, config.optimizer),
        discriminator_optimizer=adam([list(discriminator.parameters())], config.optimizer),
        counters=Counters(),
    )


def freeze_unreached(model: TalkingHead, losses: LossConfig) -> None:
    """Parameters of D_M, where its reconstruction has the weight 0 and no residual is decoded by it: no term reaches
    them, and data parallelism would wait for their gradients.
    """
    motion = model.motion_compensation
    if losses.weights.motion_reconstruction == 0 and isinstance(motion, MotionCompensation) and motion.refiner:
        motion.decoder.requires_grad_(requires_grad=False)


def adam(groups: Iterable[Iterable[nn.Parameter]], config: OptimizerConfig) -> torch.optim.Adam:
    """Fused Adam without weight decay. One optimiser with two groups equals two optimisers (spec D): each parameter's
    update depends on its own gradient and moments only.
    """
    listed = [{"params": list(group)} for group in groups]
    first, second = config.betas
    return torch.optim.Adam(listed, lr=config.rate, betas=(first, second), eps=config.epsilon, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def snapshot(state: TrainingState) -> Snapshot:
    """The exact state. Schedules, samplers and random numbers are functions of the counters and the configuration.

    Raises CheckpointError if it is not finite.
    """
    tensors = {
        "model": state.model.state_dict(),
        "discriminator": state.discriminator.state_dict(),
        "ema": state.ema.model.state_dict(),
        "generator_optimizer": _moments(state.generator_optimizer, state.model),
        "discriminator_optimizer": _moments(state.discriminator_optimizer, state.discriminator),
    }
    require_finite(tensors)
    return Snapshot(tensors=tensors, scalars={"counters": asdict(state.counters)})


def restore(state: TrainingState, saved: Snapshot) -> None:
    """Inverse of :func:`snapshot`, in place. Raises CheckpointError when the checkpoint is of another model."""
    try:
        state.model.load_state_dict(saved.tensors["model"])
        state.discriminator.load_state_dict(saved.tensors["discriminator"])
        state.ema.model.load_state_dict(saved.tensors["ema"])
        _restore_moments(state.generator_optimizer, state.model, saved.tensors["generator_optimizer"])
        _restore_moments(state.discriminator_optimizer, state.discriminator, saved.tensors["discriminator_optimizer"])
        state.counters = Counters(**saved.scalars["counters"])
    except (KeyError, RuntimeError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"the checkpoint does not fit this run's model ({first}); check --preset") from error


def require_finite(files: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Raise CheckpointError if any floating-point tensor holds NaN or infinity; one synchronisation a file."""
    for file, tensors in files.items():
        if spoilt := non_finite(tensors):
            raise CheckpointError(f"{file} holds non-finite values (first: {spoilt[0]}); nothing was written")


def _moments(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Adam's state as ``<parameter>/<moment>``."""
    names = {id(p): name for name, p in module.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, moments in optimizer.state.items()
        for key, value in moments.items()
    }


def _restore_moments(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Moments take the parameter's memory layout: the fused kernel needs them alike."""
    parameters = dict(module.named_parameters())
    optimizer.state.clear()
    for key, value in tensors.items():
        name, moment = key.rsplit("/", 1)
        parameter = parameters[name]
        like = parameter if value.shape == parameter.shape else value.to(parameter.device)
        optimizer.state[parameter][moment] = torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value)
