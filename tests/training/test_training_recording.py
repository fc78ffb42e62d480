"""Recorded passes: what is replayed is what would have been computed. Capture itself needs a GPU; see the last test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from training_factory import LOSSES, TRAINING, RandomPairs, RepeatingRecorder, micro_model

from synhead.config import ConfigError
from synhead.losses.objective import GeneratorObjective
from synhead.losses.regions import FacePoints
from synhead.training import recording
from synhead.training.config import ExecutionConfig, Precision, TrainingConfig
from synhead.training.distributed import make_fabric
from synhead.training.randomness import warps_for
from synhead.training.recording import CudaRecorder, RecordedPass, graphs_wanted
from synhead.training.state import TrainingState, build
from synhead.training.step import Micro, Steps, make_steps
from synhead.types import FacePoint

T = TypeVar("T")


def train(steps: Steps, config: TrainingConfig, *, start: int, points: bool) -> list[dict[str, float]]:
    """Loss terms of every step."""
    pairs, found = RandomPairs(), []
    generator = torch.Generator().manual_seed(1)
    for iteration in range(1, config.iterations + 1):
        batch = []
        for _ in range(config.accumulate):
            pair = pairs.next_batch(config.batch)
            warp = warps_for(0, iteration, slice(config.batch), config.batch, torch.device("cpu"))
            spots = torch.rand(2, config.batch, len(FacePoint), 2, generator=generator) * 2 - 1
            exposure = torch.rand(config.batch, 2, generator=generator) + 0.5
            batch.append(Micro(pair.source, pair.driving, warp, FacePoints(*spots) if points else None, exposure))
        adversarial = iteration > start
        generated = steps.generator_step(batch, adversarial=adversarial)
        judged = steps.discriminator_step(batch, [each.image for each in generated]) if adversarial else []
        steps.state.counters.iteration = iteration
        found.append({f"{name} {i}": float(v) for i, g in enumerate(generated) for name, v in g.terms.items()})
        found[-1] |= {f"{name} {i}": float(v) for i, j in enumerate(judged) for name, v in j.terms.items()}
        found[-1]["code"] = float(generated[0].motion_codes[-1].double().mean())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("accumulate", "points", "precision"), [(2, True, "fp32"), (1, False, "bf16")])
def test_a_recorded_training_is_the_plain_one(accumulate: int, points: bool, precision: Precision) -> None:  # noqa: FBT001
    """Bit for bit, over the adversarial start, with clipped gradients and several passes a step."""
    fabric, start = make_fabric(ExecutionConfig(precision=precision), "cpu"), 5
    config = replace(TRAINING, iterations=11, accumulate=accumulate, gradient_norm=1.0)
    weights = replace(LOSSES.weights, regions=0.5 * points)
    losses = replace(LOSSES, adversarial_start=start, weights=weights)
    curves, states = [], []
    for recorded in (False, True):
        state = build(micro_model(), config, fabric.device)
        recorder = RepeatingRecorder(state.model, state.discriminator)
        given = recorder if recorded else None
        steps = make_steps(fabric, state, GeneratorObjective(losses, None), config, recorder=given)
        curves.append(train(steps, config, start=start, points=points))
        states.append(state)
        assert recorder.recorded == (3 if recorded else 0)  # the generator's before and after the start, the critic's
    assert curves[0] == curves[1]
    assert len({curve["pixel 0"] for curve in curves[1]}) == config.iterations
    assert ("regions 0" in curves[1][0]) == points
    assert equal(*states)


def equal(one: TrainingState, other: TrainingState) -> bool:
    """Weights, statistics and averages."""
    return all(
        torch.equal(a, b)
        for name in ("model", "discriminator")
        for a, b in zip(
            getattr(one, name).state_dict().values(), getattr(other, name).state_dict().values(), strict=True
        )
    ) and all(
        torch.equal(a, b)
        for a, b in zip(one.ema.model.state_dict().values(), other.ema.model.state_dict().values(), strict=True)
    )


def test_another_form_is_recorded_anew() -> None:
    linear = nn.Linear(2, 1, bias=False)
    recorder = RepeatingRecorder(linear)
    recorded: RecordedPass[Tensor] = RecordedPass(linear.parameters(), recorder)

    def call(form: str, factor: float, rows: Tensor) -> tuple[Tensor, Tensor]:
        def work(tensors: object) -> Tensor:
            value = factor * linear(tensors[0]).sum()  # type: ignore[index]
            value.backward()
            return value.detach()

        linear.weight.grad = None
        value = recorded(form, work, [rows])
        assert linear.weight.grad is not None
        return value.clone(), linear.weight.grad.clone()

    for form, factor, count in (("a", 1.0, 6), ("b", 2.0, 5), ("a", 1.0, 4)):
        for index in range(count):
            rows = torch.randn(3, 2, generator=torch.Generator().manual_seed(index))
            value, gradient = call(form, factor, rows)
            assert torch.allclose(value, factor * linear(rows).sum())
            assert torch.allclose(gradient, factor * rows.sum(dim=0, keepdim=True))
    assert recorder.recorded == 3


def test_work_that_cannot_be_recorded_is_told_with_the_remedy() -> None:
    linear = nn.Linear(2, 1)

    class Refusing(RepeatingRecorder):
        def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
            del work
            raise RuntimeError("CUDA error: operation not permitted\nmore")

    recorded: RecordedPass[None] = RecordedPass(linear.parameters(), Refusing(linear))
    for _ in range(3):
        recorded("a", lambda tensors: linear(tensors[0]).sum().backward(), [torch.ones(1, 2)])
    with pytest.raises(ConfigError, match=r"not permitted\): train without --cuda-graphs"):
        recorded("a", lambda tensors: linear(tensors[0]).sum().backward(), [torch.ones(1, 2)])


@pytest.mark.parametrize("kind", [RuntimeError, torch.OutOfMemoryError])
def test_without_being_asked_what_cannot_be_recorded_is_computed(
    kind: type[RuntimeError], caplog: pytest.LogCaptureFixture
) -> None:
    """The attempt's gradients are dropped, it is made once, and every call gives what it would have given."""
    linear, attempts = nn.Linear(2, 1, bias=False), []

    class Refusing(RepeatingRecorder):
        def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
            attempts.append(work())
            raise kind("CUDA error: operation not permitted\nmore")

    def work(tensors: Sequence[Tensor]) -> Tensor:
        value = linear(tensors[0]).sum()
        value.backward()
        return value.detach()

    recorded: RecordedPass[Tensor] = RecordedPass(linear.parameters(), Refusing(linear), forgiving=True)
    for index in range(8):
        rows = torch.randn(3, 2, generator=torch.Generator().manual_seed(index))
        linear.weight.grad = None
        assert torch.equal(recorded("a", work, [rows]), linear(rows).sum())
        assert torch.allclose(linear.weight.grad, rows.sum(dim=0, keepdim=True))
    assert len(attempts) == 1
    assert caplog.text.count("not permitted") == 1


@pytest.mark.parametrize(
    ("execution", "processes", "kernels", "wanted"),
    [
        (ExecutionConfig(precision="bf16"), 1, True, True),
        (ExecutionConfig(precision="bf16"), 2, True, False),
        (ExecutionConfig(precision="bf16"), 1, False, False),
        (ExecutionConfig(precision="fp32"), 1, True, False),
        (ExecutionConfig(precision="bf16", compile="default"), 1, True, False),
        (ExecutionConfig(precision="bf16", sync_batch_norm=True), 1, True, False),
        (ExecutionConfig(precision="bf16", cuda_graphs=False), 1, True, False),
        (ExecutionConfig(precision="fp32", cuda_graphs=True), 2, False, True),
    ],
)
def test_graphs_are_the_default_where_they_were_checked(
    execution: ExecutionConfig,
    processes: int,
    kernels: bool,  # noqa: FBT001
    wanted: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "takes_kernels", lambda device: device.type == "cuda" and kernels)
    assert graphs_wanted(execution, torch.device("cuda"), processes) == wanted
    assert graphs_wanted(execution, torch.device("cpu"), processes) == (execution.cuda_graphs is True)


def test_graphs_need_a_gpu(fabric: Fabric, state: TrainingState) -> None:
    config = replace(TRAINING, execution=ExecutionConfig(cuda_graphs=True))
    with pytest.raises(ConfigError, match="needs a GPU"):
        make_steps(fabric, state, GeneratorObjective(LOSSES, None), config)
    with pytest.raises(ConfigError, match="sync_batch_norm off"):
        ExecutionConfig(cuda_graphs=True, sync_batch_norm=True)
    with pytest.raises(ConfigError, match="not both"):
        ExecutionConfig(cuda_graphs=True, compile="reduce-overhead")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records on a GPU")
def test_graphs_on_a_gpu() -> None:
    fabric = Fabric(accelerator="cuda", devices=1)
    config = replace(TRAINING, iterations=11)
    losses = replace(LOSSES, adversarial_start=5)
    curves = []
    for recorded in (False, True):
        state = build(micro_model(), config, fabric.device)
        given = CudaRecorder(fabric.device) if recorded else None
        steps = make_steps(fabric, state, GeneratorObjective(losses, None), config, recorder=given)
        pairs, found = RandomPairs(), []
        for iteration in range(1, config.iterations + 1):
            pair = pairs.next_batch(config.batch)
            warp = warps_for(0, iteration, slice(config.batch), config.batch, fabric.device)
            batch = [Micro(pair.source.cuda(), pair.driving.cuda(), warp)]
            generated = steps.generator_step(batch, adversarial=iteration > 5)
            if iteration > 5:
                steps.discriminator_step(batch, [generated[0].image])
            steps.state.counters.iteration = iteration
            found.append(float(generated[0].total))
        curves.append(torch.tensor(found))
    assert torch.allclose(curves[0], curves[1], rtol=1e-3)
