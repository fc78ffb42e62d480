"""The two steps of an iteration, in the order of spec D: generator side, then discriminator.

Each step's forward and losses are one module, so that data parallelism sees one forward and one backward, and its
result a named tuple of tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from synhead.geometry.precision import upcast
from synhead.geometry.tps import RandomWarp
from synhead.geometry.triton_there import takes_kernels
from synhead.losses.adversarial import discriminator_losses
from synhead.losses.objective import GeneratorObjective
from synhead.losses.regions import FacePoints
from synhead.model.discriminator import Discriminator
from synhead.model.talking_head import TalkingHead
from synhead.training.compiling import compile_regions
from synhead.training.config import TrainingConfig
from synhead.training.distributed import InPrecision, average_over_processes
from synhead.training.half_weights import HalfWeights
from synhead.training.recording import RecordedPass, Recorder, cuda_recorder, graphs_wanted
from synhead.training.state import TrainingState, freeze_unreached

Terms = Mapping[str, Tensor]


class GeneratorResult(NamedTuple):
    """``total``: what is differentiated. The rest is detached: terms by name, I_g, and code indices by scale."""

    total: Tensor
    terms: dict[str, Tensor]
    image: Tensor
    motion_codes: tuple[Tensor, ...]
    appearance_codes: tuple[Tensor, ...]


class DiscriminatorResult(NamedTuple):
    """``total``: what is differentiated; its two hinge terms, detached."""

    total: Tensor
    terms: dict[str, Tensor]


class GeneratorPass(nn.Module):
    """Training forward with all generator-side losses."""

    def __init__(self, model: TalkingHead | HalfWeights, objective: GeneratorObjective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(
        self,
        source_image: Float[Tensor, "b 3 H W"],
        driving_image: Float[Tensor, "b 3 H W"],
        view: tuple[Float[Tensor, "b 2 3"], Float[Tensor, "b 1 n"], Float[Tensor, "b 2"] | None],
        iteration: int,
        critic: Discriminator | None,
        points: FacePoints | None = None,
    ) -> GeneratorResult:
        """``view``: tensors of the random warp, and gain and offset of the warped view, if it is exposed anew.

        Without a critic the adversarial terms are off.
        """
        affine, bend, exposure = view
        warp = RandomWarp(affine=affine, bend=bend)
        losses = self.objective.config
        transformed = warp.warp_frame(driving_image)
        if exposure is not None:
            gain, offset = exposure[:, :, None, None, None].unbind(dim=1)
            transformed = (transformed * gain + offset).clamp(-1, 1)
        result = self.model(
            source_image,
            driving_image,
            transformed,
            low_resolution=losses.weights.low_resolution > 0,
            coded=losses.coded(len(driving_image)),
        )
        report = self.objective(result, driving_image, warp=warp, iteration=iteration, critic=critic, points=points)
        return GeneratorResult(
            total=report.total,
            terms={name: value.detach() for name, value in report.terms.items()},
            image=upcast(result.animation.image.detach()),
            motion_codes=tuple(coding.quantized.indices for coding in result.motion_codes),
            appearance_codes=tuple(quantized.indices for quantized in result.appearance_codes),
        )


class DiscriminatorPass(nn.Module):
    """Both hinge terms from two separate passes, each with its own batch statistics; one backward for their sum."""

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(
        self, driving_image: Float[Tensor, "b 3 H W"], generated: Float[Tensor, "b 3 H W"]
    ) -> DiscriminatorResult:
        """``generated``: I_g from before the generator's step, detached."""
        losses = discriminator_losses(self.discriminator(driving_image), self.discriminator(generated))
        terms = {"discriminator_real": losses.real.detach(), "discriminator_fake": losses.fake.detach()}
        return DiscriminatorResult(total=losses.real + losses.fake, terms=terms)


class Micro(NamedTuple):
    """One forward pass worth of input on the device: pairs in [-1, 1], their warps, and landmarks if there are any.

    ``exposure``: gain and offset of the warped views, None as published.
    """

    source_image: Tensor
    driving_image: Tensor
    warp: RandomWarp
    points: FacePoints | None = None
    exposure: Tensor | None = None

    @property
    def inputs(self) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor | None]]:
        """Tensors of the generator's pass in its order."""
        return self.source_image, self.driving_image, (self.warp.affine, self.warp.bend, self.exposure)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All there are, for :meth:`holding`."""
        points = () if self.points is None else tuple(self.points)
        exposure = () if self.exposure is None else (self.exposure,)
        return self.source_image, self.driving_image, self.warp.affine, self.warp.bend, *points, *exposure

    def holding(self, tensors: Iterator[Tensor]) -> Micro:
        """One of the same form, made of the next tensors."""
        source, driving, affine, bend = itertools.islice(tensors, 4)
        points = None if self.points is None else FacePoints(next(tensors), next(tensors))
        exposure = None if self.exposure is None else next(tensors)
        return Micro(source, driving, RandomWarp(affine=affine, bend=bend), points, exposure)


@dataclass(frozen=True, slots=True)
class Steps:
    """The wrapped passes of a state, ready to train.

    ``recorded``: both passes as CUDA graphs, whose results the next step overwrites, and no data parallelism around
    them: gradients are averaged over processes afterwards. None: passes as they are.
    """

    fabric: Fabric
    state: TrainingState
    generator: Any
    discriminator: Any
    gradient_norm: float | None
    recorded: RecordedPasses | None = None

    def generator_step(self, batch: Sequence[Micro], *, adversarial: bool) -> list[GeneratorResult]:
        """Forward, losses, one backward and one step of both generator-side groups; then the average.

        Several micro batches accumulate. The discriminator is frozen, but in train mode: its statistics move (spec C).
        """

        def work(tensors: Sequence[Tensor]) -> list[GeneratorResult]:
            given = iter(tensors)
            return self._generator_passes([micro.holding(given) for micro in batch], adversarial=adversarial)

        tensors = [tensor for micro in batch for tensor in micro.tensors]
        if self.recorded is None:
            results = work(tensors)
        else:
            results = self.recorded.generator((adversarial, *map(_shape, tensors)), work, tensors)
        if self.gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.state.model.parameters(), self.gradient_norm, foreach=True)
        self.state.generator_optimizer.step()
        self.state.generator_optimizer.zero_grad(set_to_none=True)
        self.state.ema.update()
        return results

    def discriminator_step(self, batch: Sequence[Micro], generated: Sequence[Tensor]) -> list[DiscriminatorResult]:
        """Hinge losses on I_d and on I_g from before the generator's step, then one step."""

        def work(tensors: Sequence[Tensor]) -> list[DiscriminatorResult]:
            return self._discriminator_passes(list(zip(tensors[::2], tensors[1::2], strict=True)))

        tensors = [image for micro, made in zip(batch, generated, strict=True) for image in (micro.driving_image, made)]
        if self.recorded is None:
            results = work(tensors)
        else:
            results = self.recorded.discriminator(tuple(map(_shape, tensors)), work, tensors)
        self.state.discriminator_optimizer.step()
        self.state.discriminator_optimizer.zero_grad(set_to_none=True)
        return results

    def _generator_passes(self, batch: Sequence[Micro], *, adversarial: bool) -> list[GeneratorResult]:
        critic = self.state.discriminator if adversarial else None
        iteration = self.state.counters.iteration + 1
        results = []
        with frozen(self.state.discriminator):
            for index, micro in enumerate(batch):
                with self._accumulating(self.generator, last=index == len(batch) - 1):
                    result = self.generator(*micro.inputs, iteration, critic, micro.points)
                    self.fabric.backward(result.total / len(batch))
                results.append(result._replace(total=result.total.detach()))
        return results

    def _discriminator_passes(self, batch: Sequence[tuple[Tensor, Tensor]]) -> list[DiscriminatorResult]:
        results = []
        for index, images in enumerate(batch):
            with self._accumulating(self.discriminator, last=index == len(batch) - 1):
                result = self.discriminator(*images)
                self.fabric.backward(result.total / len(batch))
            results.append(result._replace(total=result.total.detach()))
        return results

    def _accumulating(self, module: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients after the last of several passes only."""
        if self.recorded is not None:
            return nullcontext()
        return self.fabric.no_backward_sync(module, enabled=not last)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RecordedPasses:
    """Each pass with its backward, recorded."""

    generator: RecordedPass[list[GeneratorResult]]
    discriminator: RecordedPass[list[DiscriminatorResult]]

    @classmethod
    def of(cls, fabric: Fabric, state: TrainingState, recorder: Recorder, *, forgiving: bool) -> RecordedPasses:
        """For the parameters of both sides."""
        share = partial(average_over_processes, fabric)
        return cls(
            generator=RecordedPass(state.model.parameters(), recorder, share, forgiving=forgiving),
            discriminator=RecordedPass(state.discriminator.parameters(), recorder, share, forgiving=forgiving),
        )


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Parameters without gradients inside the block."""
    module.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        module.requires_grad_(requires_grad=True)


def make_steps(
    fabric: Fabric,
    state: TrainingState,
    objective: GeneratorObjective,
    config: TrainingConfig,
    recorder: Recorder | None = None,
) -> Steps:
    """Wrap the passes for the devices: compilation of the parts, then data parallelism around each pass, or recording.

    ``recorder``: instead of the device's own, if passes are to be recorded.
    """
    freeze_unreached(state.model, objective.config)
    objective.to(device=fabric.device)
    execution = config.execution
    if execution.channels_last:
        objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if execution.compile != "off":
        kernels = execution.precision == "bf16" and takes_kernels(fabric.device)
        compile_regions(state, objective, execution.compile, kernels=kernels)
    if recorder is None and graphs_wanted(execution, fabric.device, fabric.world_size):
        recorder = cuda_recorder(fabric.device)
    forgiving = execution.cuda_graphs is None
    recorded = None if recorder is None else RecordedPasses.of(fabric, state, recorder, forgiving=forgiving)

    def wrapped(module: nn.Module) -> nn.Module:
        return InPrecision(module, fabric) if recorded else fabric.setup_module(module, move_to_device=False)

    model = HalfWeights(state.model) if recorded else state.model
    return Steps(
        fabric=fabric,
        state=state,
        generator=wrapped(GeneratorPass(model, objective)),
        discriminator=wrapped(DiscriminatorPass(state.discriminator)),
        gradient_norm=config.gradient_norm,
        recorded=recorded,
    )
