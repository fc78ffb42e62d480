"""What a run shows: metrics, pictures, validation."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric
from training_factory import TRAINING, RandomPairs, make_run

from synhead.config import ConfigError
from synhead.training.loop import train
from synhead.training.pictures import flow_colours, picture
from synhead.training.run import Progress
from synhead.training.state import TrainingState
from synhead.training.tracking import JsonlTracker, Trackers, open_trackers
from synhead.training.validation import validate
from synhead.weights.checkpoint import load, read_info


class Recorder:
    def __init__(self) -> None:
        self.figures: dict[int, dict[str, float]] = {}
        self.images: list[tuple[int, str, tuple[int, ...]]] = []

    def scalars(self, iteration: int, values: dict[str, float]) -> None:
        self.figures.setdefault(iteration, {}).update(values)

    def image(self, iteration: int, name: str, image: torch.Tensor) -> None:
        self.images.append((iteration, name, tuple(image.shape)))

    def close(self) -> None:
        pass


def test_a_run_shows_figures_pictures_and_validation(fabric: Fabric, tmp_path: Path) -> None:
    every = replace(TRAINING.every, log=2, image=4, validate=2, checkpoint=4, weights=2)
    config = replace(TRAINING, iterations=4, every=every)
    held_out = RandomPairs().next_batch(3)
    recorder, shown = Recorder(), list[Progress]()
    run = replace(
        make_run(fabric, tmp_path, config),
        trackers=Trackers([recorder]),
        report=shown.append,
        validation=lambda: [(held_out.source[:1], held_out.driving)],
    )
    outcome = train(run)
    assert sorted(recorder.figures) == [2, 4]
    figures = recorder.figures[4]
    for name in ("loss/pixel", "loss/discriminator_real", "loss/adversarial_weight", "rate", "validation/psnr"):
        assert name in figures
    assert figures["samples"] == 8
    for scale in (24, 48):
        assert 1 <= figures[f"codes/motion/{scale}/perplexity"] <= 8
    assert "loss/discriminator_real" not in recorder.figures[2]
    assert recorder.images == [(4, "training", (3, 2 * 48, 10 * 48))]
    assert [progress.iteration for progress in shown] == [2, 4]
    assert outcome.validation is not None
    best = max(values["validation/psnr"] for values in recorder.figures.values())
    assert run.steps.state.counters.best_psnr == pytest.approx(best)
    assert f"PSNR {best:.2f}" in read_info(tmp_path / "best").notes[0]
    assert load(tmp_path / "best").config == run.steps.state.model.config
    kept = {path.name: load(path).state_dict() for path in tmp_path.glob("weights-*")}
    assert sorted(kept) == ["weights-2", "weights-4"]
    averaged = run.steps.state.ema.model.state_dict()
    assert all(torch.equal(value, averaged[name]) for name, value in kept["weights-4"].items())
    assert not all(torch.equal(value, averaged[name]) for name, value in kept["weights-2"].items())


def test_validation_counts_in_eight_bits(fabric: Fabric, state: TrainingState, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [RandomPairs().next_batch(3) for _ in range(2)]
    model = state.ema.model
    report = validate(fabric, model, [(pair.source, pair.driving) for pair in pairs])
    values = []
    for pair in pairs:
        generated = model.animate(model.observe(pair.source), model.keypoint_detector(pair.driving)).image
        ours, theirs = (((image.clamp(-1, 1) + 1) / 2 * 255).round() for image in (generated, pair.driving))
        values += [20 * torch.log10(255 / (a - b).square().mean().sqrt()) for a, b in zip(ours, theirs, strict=True)]
    assert report.pairs == 6
    assert report.psnr == pytest.approx(float(torch.stack(values).mean()), abs=1e-3)
    with pytest.raises(ConfigError, match="validation has no pairs"):
        validate(fabric, model, [])


def test_colour_wheel() -> None:
    displacement = torch.tensor([[0.0, 16.0, -16.0, 0.0], [0.0, 0.0, 0.0, 8.0]]).view(1, 2, 1, 4)
    still, right, left, down = flow_colours(displacement)[0, :, 0].T
    torch.testing.assert_close(still, torch.ones(3))
    torch.testing.assert_close(right, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(left, torch.tensor([0.0, 1.0, 1.0]))
    assert down.min() == pytest.approx(0.5)


def test_picture_is_eight_bit(state: TrainingState) -> None:
    pair = RandomPairs().next_batch(1)
    shown = picture(state.ema.model, pair.source, pair.driving)
    assert shown.shape == (3, 48, 480)
    assert shown.dtype == torch.uint8


def test_metrics_of_a_later_leg_replace_those_of_a_killed_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tracker = JsonlTracker(path)
    for iteration in (1, 2, 3):
        tracker.scalars(iteration, {"loss": float(iteration)})
    tracker.close()
    with path.open("a") as file:
        file.write('{"iteration": 4, "lo')
    tracker = JsonlTracker(path, after=2)
    tracker.scalars(3, {"loss": float("nan")})
    tracker.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["iteration"], line["loss"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, None)]


def test_tensorboard_events_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    trackers = open_trackers(tmp_path, ["tensorboard"])
    trackers.scalars(1, {"loss/pixel": 0.5})
    trackers.image(1, "training", torch.zeros(3, 8, 8, dtype=torch.uint8))
    trackers.close()
    assert trackers.active
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_wandb_that_is_not_installed_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("wandb") is None:
        with pytest.raises(ConfigError, match="pip install wandb"):
            open_trackers(tmp_path, ["wandb"])


def test_runs_of_one_name_are_several_in_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed one is the same; so is one that began under its mere name, as runs once did."""
    begun: list[dict[str, str]] = []

    def init(**given: str) -> SimpleNamespace:
        begun.append(given)
        return SimpleNamespace(finish=lambda: None)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    (tmp_path / "c/first/wandb/run-20260101_000000-first").mkdir(parents=True)
    (tmp_path / "d/first/wandb/run-20260101_000000-0123abcd").mkdir(parents=True)
    for place in ("a", "b", "a", "c", "c", "d"):
        open_trackers(tmp_path / place / "first", ["wandb"]).close()
    assert {each["name"] for each in begun} == {"first"}
    a, b, again, c, c_again, d = (each["id"] for each in begun)
    assert again == a
    assert (c, c_again) == ("first", "first")
    assert len({a, b, c, d}) == 4
