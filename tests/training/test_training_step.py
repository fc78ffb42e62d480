from __future__ import annotations

import copy
from dataclasses import replace
from typing import get_args

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from training_factory import LOSSES, TRAINING, RandomPairs, micro_model

from synhead.config import AblationName, ablate
from synhead.losses.objective import GeneratorObjective
from synhead.losses.regions import FacePoints
from synhead.training.config import EmaConfig, ExecutionConfig, OptimizerConfig
from synhead.training.distributed import make_fabric
from synhead.training.meters import Meters
from synhead.training.randomness import warps_for
from synhead.training.state import TrainingState, adam, build
from synhead.training.step import Micro, Steps, make_steps
from synhead.types import FacePoint

LOSSES_ON = replace(LOSSES, adversarial_start=0)


def micro_batch(fabric: Fabric, size: int = 2, first: int = 0) -> Micro:
    pairs = RandomPairs()
    pairs.samples = first
    pair = pairs.next_batch(size)
    return Micro(pair.source, pair.driving, warps_for(0, 1, slice(first, first + size), 8, fabric.device))


def steps_of(fabric: Fabric, state: TrainingState) -> Steps:
    return make_steps(fabric, state, GeneratorObjective(LOSSES_ON, None), TRAINING)


@pytest.mark.parametrize("name", get_args(AblationName))
def test_every_parameter_of_every_ablation_is_trained(fabric: Fabric, name: AblationName) -> None:
    """Nothing is created that is not used: data parallelism may run without looking for unused parameters."""
    state = build(ablate(micro_model(), name), TRAINING, fabric.device)
    steps = steps_of(fabric, state)
    batch = [micro_batch(fabric)]
    generated = steps.generator_step(batch, adversarial=True)
    steps.discriminator_step(batch, [result.image for result in generated])
    moved = state.generator_optimizer.state | state.discriminator_optimizer.state
    for module in (state.model, state.discriminator):
        assert [name for name, parameter in module.named_parameters() if parameter not in moved] == []


@pytest.mark.parametrize("ablation", ["full", "plain_residual"])
@pytest.mark.parametrize("off", ["pixel", "appearance_code", "motion_reconstruction"])
def test_a_term_of_weight_0_is_off_and_all_else_is_trained(fabric: Fabric, off: str, ablation: AblationName) -> None:
    """No parameter is left for whose gradient data parallelism would wait; of codes not learned no figures are told."""
    losses = replace(LOSSES_ON, weights=replace(LOSSES_ON.weights, **{off: 0.0}))
    state = build(ablate(micro_model(), ablation), TRAINING, fabric.device)
    steps = make_steps(fabric, state, GeneratorObjective(losses, None), TRAINING)
    generated = steps.generator_step([micro_batch(fabric)], adversarial=True)
    trained = {name: parameter for name, parameter in state.model.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trained.items() if parameter not in state.generator_optimizer.state] == []
    frozen = {name for name, _ in state.model.named_parameters()} - trained.keys()
    assert bool(frozen) == (off == "motion_reconstruction" and ablation == "full")
    meters = Meters(fabric, state.model.config)
    meters.update(generated, [])
    figures = meters.read()
    assert f"loss/{off}" not in figures
    told = {name.split("/")[1] for name in figures if name.startswith("codes/")}
    assert told == ({"motion"} if off == "appearance_code" else {"motion", "appearance"})


def test_only_the_warped_view_is_exposed_anew(fabric: Fabric, state: TrainingState) -> None:
    """The equivariance terms alone see it; a neutral exposure changes no bit."""
    plain = micro_batch(fabric)
    found = {}
    for name, exposure in (("none", None), ("neutral", (1.0, 0.0)), ("dark", (0.6, -0.3))):
        values = None if exposure is None else torch.tensor([exposure, exposure], device=fabric.device)
        steps = steps_of(fabric, copy.deepcopy(state))
        found[name] = steps.generator_step([plain._replace(exposure=values)], adversarial=False)[0].terms
    assert all(torch.equal(found["none"][term], found["neutral"][term]) for term in found["none"])
    differing = {term for term in found["none"] if not torch.equal(found["none"][term], found["dark"][term])}
    assert differing == {"equivariance_value", "equivariance_jacobian"}


def test_one_adam_with_two_groups_equals_two_optimisers() -> None:
    """Bit for bit: the published trainer steps the generator's and the motion estimator's optimisers in turn."""
    torch.manual_seed(0)
    parts = [[nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(7))] for _ in range(2)]
    twins = copy.deepcopy(parts)
    config = OptimizerConfig(rate=1e-2)
    one = adam(parts, config)
    two = [torch.optim.Adam(part, lr=1e-2, betas=(0.9, 0.99), fused=True) for part in twins]
    for _ in range(5):
        for part, twin in zip(parts, twins, strict=True):
            for parameter, other in zip(part, twin, strict=True):
                parameter.grad = torch.randn_like(parameter)
                other.grad = parameter.grad.clone()
        one.step()
        for optimizer in two:
            optimizer.step()
    for part, twin in zip(parts, twins, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(part, twin, strict=True))


def test_the_generator_step_freezes_the_discriminator_but_moves_its_statistics(
    fabric: Fabric, state: TrainingState
) -> None:
    before = copy.deepcopy(state.discriminator.state_dict())
    steps_of(fabric, state).generator_step([micro_batch(fabric)], adversarial=True)
    for name, parameter in state.discriminator.named_parameters():
        assert parameter.requires_grad
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])
    changed = [n for n, b in state.discriminator.named_buffers() if "mean" in n and not torch.equal(b, before[n])]
    assert len(changed) == 4


def test_without_the_adversarial_part_the_discriminator_is_not_touched(fabric: Fabric, state: TrainingState) -> None:
    before = copy.deepcopy(state.discriminator.state_dict())
    [result] = steps_of(fabric, state).generator_step([micro_batch(fabric)], adversarial=False)
    assert "adversarial" not in result.terms
    assert all(torch.equal(value, before[name]) for name, value in state.discriminator.state_dict().items())


def test_the_discriminator_judges_the_image_from_before_the_step(fabric: Fabric, state: TrainingState) -> None:
    batch = [micro_batch(fabric)]
    twin = copy.deepcopy(state.model)
    affine, bend = batch[0].warp.affine, batch[0].warp.bend
    assert affine.shape == (2, 2, 3)
    assert bend.shape == (2, 1, 25)
    warped = batch[0].warp.warp_frame(batch[0].driving_image)
    expected = twin(batch[0].source_image, batch[0].driving_image, warped).animation.image
    [result] = steps_of(fabric, state).generator_step(batch, adversarial=True)
    torch.testing.assert_close(result.image, expected)
    assert not result.image.requires_grad


def test_average_follows_the_definition(fabric: Fabric) -> None:
    for scope in ("generator", "all"):
        config = replace(TRAINING, ema=EmaConfig(decay=0.9, scope=scope))  # type: ignore[arg-type]
        state = build(micro_model(), config, fabric.device)
        start = copy.deepcopy(state.model.state_dict())
        steps_of(fabric, state).generator_step([micro_batch(fabric)], adversarial=False)
        now, average = state.model.state_dict(), state.ema.model.state_dict()
        assert not state.ema.model.training
        for name, value in average.items():
            estimator = name.startswith(("keypoint_detector", "coarse_motion"))
            if not value.is_floating_point() or (scope == "generator" and estimator):
                assert torch.equal(value, now[name]), name
            else:
                torch.testing.assert_close(value, 0.9 * start[name] + 0.1 * now[name], rtol=1e-5, atol=1e-7)


def freeze_batch_norm(state: TrainingState) -> None:
    for module in (*state.model.modules(), *state.discriminator.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def test_landmarks_pass_through_half_precision(state: TrainingState) -> None:
    """Fabric converts what it passes on, and refuses frozen dataclasses."""
    half = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    losses = replace(LOSSES, weights=replace(LOSSES.weights, landmarks=10.0, regions=1.0))
    steps = make_steps(half, state, GeneratorObjective(losses, None), TRAINING)
    points = torch.rand(2, len(FacePoint), 2) - 0.5
    micro = micro_batch(half)._replace(points=FacePoints(source=points, driving=points))
    terms = steps.generator_step([micro], adversarial=False)[0].terms
    assert terms["landmarks"] > 0
    assert terms["regions"] > 0


def test_accumulation_equals_the_larger_batch(fabric: Fabric) -> None:
    """Batch norm aside, two passes of two pairs give the weights that one pass of four gives."""
    states = [build(micro_model(), TRAINING, fabric.device) for _ in range(2)]
    batches = [[micro_batch(fabric, 4)], [micro_batch(fabric, 2), micro_batch(fabric, 2, first=2)]]
    gradients = []
    for state, batch in zip(states, batches, strict=True):
        freeze_batch_norm(state)
        state.generator_optimizer.step = lambda: None  # type: ignore[assignment, method-assign, return-value]
        state.generator_optimizer.zero_grad = lambda **_: None  # type: ignore[method-assign, assignment]
        steps_of(fabric, state).generator_step(batch, adversarial=False)
        gradients.append({name: p.grad for name, p in state.model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_half_precision_leaves_inputs_as_they_are() -> None:
    """Rounded to bf16, the frame would be sampled up to a quarter of a pixel from where the random warp says."""
    fabric = make_fabric(ExecutionConfig(precision="bf16"), "cpu")
    seen: list[torch.Tensor] = []

    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            seen.extend([given, self.linear(given)])
            return seen[-1]

    given = torch.rand(4, 3)
    result = fabric.setup_module(Look())(given)
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], given)
    assert seen[1].dtype == torch.bfloat16
    assert result.dtype == torch.float32


def test_equivariance_in_half_precision_is_that_of_full_precision() -> None:
    """At the start of training, for the same weights, pairs and warps."""
    found = []
    for precision in ("fp32", "bf16"):
        fabric = make_fabric(ExecutionConfig(precision=precision), "cpu")
        state = build(micro_model(), TRAINING, fabric.device)
        terms = steps_of(fabric, state).generator_step([micro_batch(fabric)], adversarial=False)[0].terms
        found.append(float(terms["equivariance_value"]))
    assert found[1] == pytest.approx(found[0], rel=2e-3)
