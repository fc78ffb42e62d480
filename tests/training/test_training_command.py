"""``synhead train`` end to end on a folder of frames, as a user calls it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from training_factory import micro_model, write_clips
from typer.testing import CliRunner, Result

from synhead.app import training
from synhead.app.errors import guarded
from synhead.app.train import train
from synhead.app.training import Choice, _fields, configure, parse_settings
from synhead.config import ConfigError, to_json
from synhead.config import presets as model_presets
from synhead.data.face_points import save_points
from synhead.model.talking_head import TalkingHead
from synhead.training.checkpoint import read
from synhead.training.config import recipe
from synhead.training.events import Events
from synhead.training.setup import saved_config
from synhead.training.step import Steps
from synhead.types import FacePoint
from synhead.weights.checkpoint import load, save

COMMON = ("--recipe", "synhead", "--precision", "fp32", "--compile", "off", "--perceptual", "none", "--device", "cpu")
SMALL = ("--batch", "2", "--iterations", "4", "--adversarial-start", "1", "--set", "training.discriminator_width=4")
EVERY = ("--set", "training.every.check=1", "--set", "training.every.log=1", "--set", "training.every.validate=2")


def call(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(guarded(train))
    return CliRunner().invoke(app, [*arguments])


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clips, and a preset of their size."""
    monkeypatch.setattr(model_presets, "PRESETS", {"micro": micro_model()})
    monkeypatch.chdir(tmp_path)
    return write_clips(tmp_path / "clips")


@pytest.fixture
def terminal() -> Iterator[None]:
    """Signals as in a program that was just started from one, whatever the tests run under."""
    before = {kind: signal.signal(kind, signal.SIG_DFL) for kind in (signal.SIGHUP, signal.SIGTERM)}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


def start(clips: Path, *more: str, size: Sequence[str] = ("--preset", "micro")) -> Result:
    return call("--data", str(clips), "--no-tensorboard", *size, *COMMON, *SMALL, *EVERY, *more)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_closed_terminal_saves_and_stops(clips: Path, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del terminal

    def close(told: str, **_: object) -> None:
        if told.startswith("iteration 1/4"):
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)  # such a terminal tends to send several

    monkeypatch.setattr(training, "remark", close)
    stopped = start(clips, "--name", "closed")
    assert stopped.exit_code == 0, stopped.output
    assert "stopped at iteration 2 of 4: go on with --resume" in stopped.output.replace("\n", " ")
    assert (Path("runs") / "closed" / "checkpoints" / "iteration-000000002").is_dir()


def test_train_stop_resume_export_and_warm_start(clips: Path) -> None:
    stopped = start(clips, "--max-minutes", "0")
    assert stopped.exit_code == 0, stopped.output
    run = Path("runs/first")
    assert "of 4: go on with --resume" in stopped.output.replace("\n", " ")
    reached = [json.loads(line)["iteration"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(reached) < 4

    again = start(clips)
    assert again.exit_code == 2
    assert "go on with --resume" in again.output.replace("\n", " ")

    resumed = call(
        "--data", str(clips), "--resume", "--no-tensorboard", "--device", "cpu", "--export-leg", "leg", "--half"
    )
    assert resumed.exit_code == 0, resumed.output
    assert "finished at iteration 4" in resumed.output.replace("\n", " ")
    assert load(run / "weights").config == micro_model()
    assert load(run / "best").config == micro_model()
    figures = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("validation/psnr" in line for line in figures)
    assert read(run / "checkpoints/iteration-000000004").scalars["counters"]["samples"] == 8

    warm = ("--name", "second", "--warm-start", "leg", "--iterations", "5", "--device", "cpu", "--no-tensorboard")
    further = call("--data", str(clips), *warm)
    assert further.exit_code == 0, further.output
    counters = read(Path("runs/second/checkpoints/iteration-000000005")).scalars["counters"]
    assert (counters["restarted_at"], counters["samples"]) == (4, 10)


ALLOCATORS = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity")
DRIVERS = RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")


@pytest.mark.parametrize(("resume", "error"), [((), ALLOCATORS), (("--resume",), DRIVERS)])
def test_a_run_that_fails_before_it_saves_leaves_no_trace(
    clips: Path, monkeypatch: pytest.MonkeyPatch, resume: tuple[str, ...], error: RuntimeError
) -> None:
    """So the second try may have the name; what was in the folder, and no run's, stays."""

    def too_much(*_: object, **__: object) -> None:
        raise error

    notes = Path("runs/second/notes.txt")
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with monkeypatch.context() as failing:
        failing.setattr(Steps, "generator_step", too_much)
        for name in ("first", "second"):
            refused = start(clips, "--name", name, *resume)
            assert refused.exit_code == 2
            told = "choose a --batch smaller than 2, with --accumulate for as many pairs a step, or --precision bf16"
            assert f"error: out of GPU memory: {told}" in " ".join(refused.output.split())
            assert "Traceback" not in refused.output
        assert not Path("runs/first").exists()
        assert list(notes.parent.iterdir()) == [notes]
    again = start(clips, "--batch", "1", "--iterations", "1", *resume)
    assert again.exit_code == 0, again.output


def test_a_run_that_fails_after_it_saved_keeps_all(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    every = ("--set", "training.every.checkpoint=2", "--precision", "bf16")
    with monkeypatch.context() as failing:
        failing.setattr(Events, "keep_weights", fail)
        failed = start(clips, *every, "--set", "training.every.weights=3")
        assert "with --accumulate for as many pairs a step" in " ".join(failed.output.split())
        assert "bf16" not in failed.output
    assert saved_config(Path("runs/first")) is not None
    assert "go on with --resume" in " ".join(start(clips, *every).output.split())
    resumed = start(clips, *every, "--resume")
    assert "finished at iteration 4" in " ".join(resumed.output.split())


def test_a_run_that_fails_before_its_first_checkpoint_keeps_its_curves(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which say what led to it; ``--resume`` then starts from the beginning."""
    whole = Steps.generator_step

    def fails_later(self: Steps, *given: object, **named: object) -> object:
        if self.state.counters.iteration == 2:
            raise torch.OutOfMemoryError
        return whole(self, *given, **named)  # type: ignore[arg-type]

    every = ("--set", "training.every.log=1", "--set", "training.every.check=1")
    with monkeypatch.context() as failing:
        failing.setattr(Steps, "generator_step", fails_later)
        assert start(clips, *every).exit_code == 2
    curves = Path("runs/first/metrics.jsonl")
    assert {json.loads(line)["iteration"] for line in curves.read_text().splitlines()} == {1, 2}
    resumed = start(clips, *every, "--resume", "--batch", "1")
    assert "finished at iteration 4" in " ".join(resumed.output.split()), resumed.output
    assert {json.loads(line)["iteration"] for line in curves.read_text().splitlines()} == {1, 2, 3, 4}


def test_fine_tuning_starts_from_given_weights(clips: Path) -> None:
    """As they are, but for the lids' gain, which was measured for those."""
    torch.manual_seed(1)
    micro = micro_model()
    keypoints = replace(micro.keypoints, count=12)
    given = TalkingHead(replace(micro, keypoints=keypoints, lid_gain=1.5))
    save(given, Path("given"))
    tuned = start(clips, "--init", "given", "--rate", "1e-12", size=())
    assert tuned.exit_code == 0, tuned.output
    found = load("runs/first/weights")
    assert found.config == replace(micro, keypoints=keypoints)
    for ours, theirs in zip(found.parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert read(Path("runs/first/checkpoints/iteration-000000004")).scalars["counters"]["samples"] == 8

    refused = start(clips, "--init", "given", "--name", "other")
    assert refused.exit_code == 2
    assert "leave --warm-start and --preset out" in " ".join(refused.output.split())


def test_no_clips_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    result = call("--data", "empty", "--preset", "tiny", *COMMON)
    assert result.exit_code == 2
    assert "empty: no clip" in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_settings() -> None:
    assert parse_settings(["a.b=1", "c=word", "d=[1, 2]"]) == {"a.b": 1, "c": "word", "d": [1, 2]}
    with pytest.raises(ConfigError, match="expected NAME=VALUE"):
        parse_settings(["a.b"])
    assert parse_settings(["a.b=1"], {"a.b": None, "a.c": 2}) == {"a.b": 1, "a.c": 2}
    with pytest.raises(ConfigError, match=r"a\.b is given by --set and by its own option"):
        parse_settings(["a.b=1"], {"a.b": 2})


def test_configure_takes_an_ablation(tmp_path: Path) -> None:
    choice = Choice(preset="tiny", ablation="smc", recipe="published", folder=tmp_path, resume=False, leg=None)
    config = configure(choice, {"training.batch": 8})
    assert config.model.name == "tiny-smc"
    assert config.training.batch == 8


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ablation": "mmc"}, "of ablation smc, not mmc: leave --ablation out"),
        ({"ablation": "full"}, "of ablation smc, not full: leave --ablation out"),
        ({"preset": "lite"}, "of preset tiny, not lite: leave --preset out"),
        ({"preset": "t"}, "of preset tiny, not t: leave --preset out"),
        ({"recipe": "published"}, "of recipe synhead, not published: leave --recipe out"),
    ],
)
@pytest.mark.parametrize("kind", ["resume", "leg"])
def test_what_goes_on_is_what_was_asked_for(tmp_path: Path, asked: dict[str, str], message: str, kind: str) -> None:
    """The same options as before, or some of them, go on, with changes; any other preset, ablation or recipe is
    refused instead of being ignored.
    """
    names: dict[str, str] = {"preset": "tiny", "ablation": "smc", "recipe": "synhead"}
    began = {"training.batch": 8, "training.ema.decay": 0.9, "losses.weights.pixel": 3.0}
    nothing = Choice(preset=None, ablation=None, recipe=None, folder=tmp_path / "new", resume=False, leg=None)
    config = configure(replace(nothing, **names), began)
    (tmp_path / "config.json").write_text(to_json(config))
    places: dict[str, Any] = {"resume": {"folder": tmp_path, "resume": True}, "leg": {"leg": tmp_path}}
    going_on = replace(nothing, **places[kind])
    assert configure(replace(going_on, **names), began) == config
    for name, value in names.items():
        assert configure(replace(going_on, **{name: value}), {}) == config
    assert configure(going_on, {"training.iterations": 9}).training == replace(config.training, iterations=9)
    with pytest.raises(ConfigError, match=message):
        configure(replace(going_on, **{**names, **asked}), began)


def test_a_run_of_no_ablation_is_the_full_one(tmp_path: Path) -> None:
    nothing = Choice(preset="tiny", ablation=None, recipe=None, folder=tmp_path, resume=False, leg=None)
    config = configure(nothing, {})
    (tmp_path / "config.json").write_text(to_json(config))
    assert configure(replace(nothing, resume=True, ablation="full"), {}) == config


@pytest.mark.parametrize("kind", ["resume", "leg"])
def test_a_recipe_is_known_whatever_was_changed(tmp_path: Path, kind: str) -> None:
    """A run of one recipe whose every field was set to another's, gone on from with those settings or without."""
    began = Choice(preset="tiny", ablation=None, recipe="published", folder=tmp_path / "new", resume=False, leg=None)
    other = recipe("synhead", model_presets.preset("tiny"))
    changes = _fields({"training": asdict(other.training), "losses": asdict(other.losses), "data": asdict(other.data)})
    changes = {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}
    config = configure(began, changes)
    (tmp_path / "config.json").write_text(to_json(config))
    places: dict[str, Any] = {"resume": {"folder": tmp_path, "resume": True}, "leg": {"leg": tmp_path}}
    going_on = replace(began, **places[kind])
    for given in ({}, {"training.batch": 8}, changes):
        assert configure(going_on, given).recipe == "published"
        assert configure(replace(going_on, recipe=None), given).recipe == "published"
        with pytest.raises(ConfigError, match="of recipe published, not synhead: leave --recipe out"):
            configure(replace(going_on, recipe="synhead"), given)


def test_runs_from_before_recipes_were_noted_go_on(tmp_path: Path) -> None:
    """Their recipe is recognised by what they hold."""
    began = Choice(preset="tiny", ablation=None, recipe="synhead", folder=tmp_path, resume=False, leg=None)
    tree = json.loads(to_json(configure(began, {"training.batch": 8})))
    del tree["recipe"]
    (tmp_path / "config.json").write_text(json.dumps(tree))
    for named in (None, "synhead"):
        assert configure(replace(began, resume=True, recipe=named), {}).training.batch == 8  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="of recipe synhead, not published"):
        configure(replace(began, resume=True, recipe="published"), {})


def test_terms_that_need_landmarks(clips: Path) -> None:
    weights = ("--set", "losses.weights.landmarks=2", "--set", "losses.weights.regions=1", "--iterations", "2")
    without = start(clips, *weights)
    assert without.exit_code == 2
    assert "need --landmarks FILE" in " ".join(without.output.split())
    assert not Path("runs/first").exists()

    openings = start(clips, "--set", "losses.weights.openings=1", "--landmarks", "points.npz", "--iterations", "2")
    assert openings.exit_code == 2
    assert "at least 12 keypoints" in " ".join(openings.output.split())

    random = np.random.default_rng(0)
    names = ("a#1#0#4.mp4", "a#2#0#4.mp4", "b#1#0#4.mp4")
    save_points({name: random.uniform(0.3, 0.7, (4, len(FacePoint), 2)) for name in names}, Path("points.npz"))
    done = start(clips, *weights, "--landmarks", "points.npz")
    assert done.exit_code == 0, done.output
    figures = [json.loads(line) for line in Path("runs/first/metrics.jsonl").read_text().splitlines()]
    assert all(line["loss/landmarks"] > 0 and line["loss/regions"] > 0 for line in figures if "loss/pixel" in line)
