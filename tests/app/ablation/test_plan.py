from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from synhead.app.ablation.plan import (
    Request,
    Stage,
    Task,
    TaskError,
    claim,
    measurements,
    parse_seeds,
    parse_variants,
    plan,
)
from synhead.config import ConfigError


def request(**changes) -> Request:
    given = {"preset": "tiny", "data": "clips", "val": "held", "steps": 5, "minutes": None, "recipe": "published"}
    return Request(**{**given, "settings": ("training.batch=2",), **changes})


def checkpoint(folder: Path, *, iteration: int, seconds: float = 60.0, clips: int = 7) -> None:
    state = folder / "checkpoints" / f"iteration-{iteration:09d}"
    state.mkdir(parents=True)
    counters = {"iteration": iteration, "samples": 2 * iteration, "seconds": seconds}
    (state / "state.json").write_text(json.dumps({"counters": counters, "data": {"clips": clips}}))


def options(command: list[str]) -> dict[str, str]:
    return {name: value for name, value in pairwise(command) if name.startswith("--")}


def test_variants_and_seeds() -> None:
    assert parse_variants("baseline, full") == ("baseline", "full")
    assert parse_seeds("0,3") == (0, 3)
    for wrong in ("baseline,everything", "full,full", ""):
        with pytest.raises(ConfigError):
            parse_variants(wrong)
    for wrong in ("a", "1,1", "-1"):
        with pytest.raises(ConfigError):
            parse_seeds(wrong)


def test_one_budget_only() -> None:
    for steps, minutes in ((None, None), (5, 1.0)):
        with pytest.raises(ConfigError, match="--steps"):
            request(steps=steps, minutes=minutes)
    with pytest.raises(ConfigError, match="--at 6 comes after"):
        request(steps=5, at=6)


def test_first_seeds_come_first(tmp_path: Path) -> None:
    names = [task.folder.name for task in plan(request(), tmp_path, ("smc", "full"), (0, 1))]
    assert names == ["smc-seed0", "full-seed0", "smc-seed1", "full-seed1"]


def test_runs_differ_in_variant_and_seed_alone(tmp_path: Path) -> None:
    first, second = plan(request(), tmp_path, ("smc", "full"), (3,))
    one, two = (options(task.command(Stage("train"), device="cpu")) for task in (first, second))
    assert (one.pop("--ablation"), two.pop("--ablation")) == ("smc", "full")
    assert (one.pop("--name"), two.pop("--name")) == ("smc-seed3", "full-seed3")
    assert one == two
    assert (one["--seed"], one["--iterations"], one["--set"]) == ("3", "5", "training.batch=2")


def test_stages_follow_what_is_on_disk(tmp_path: Path) -> None:
    task = Task(request(), tmp_path / "smc-seed0", "smc", 0)
    assert task.stage() == Stage("train")
    assert task.measurement() is None
    checkpoint(task.folder, iteration=3)
    (task.folder / "config.json").touch()
    assert "--resume" in task.command(Stage("train"), device="cpu")
    with pytest.raises(TaskError, match="iteration 3 of 5"):
        task.settle(Stage("train"))
    checkpoint(task.folder, iteration=5, seconds=120)
    task.settle(Stage("train"))
    assert task.stage() == Stage("render")
    with pytest.raises(TaskError, match="no frames"):
        task.settle(Stage("render"))
    (task.folder / "frames").mkdir()
    assert replace(task, measuring=False).stage() is None
    assert task.stage() == Stage("measure")
    assert "held" in task.command(Stage("measure"), device="cpu")
    with pytest.raises(TaskError, match=r"no figures\.json"):
        task.settle(Stage("measure"))
    (task.folder / "figures.json").write_text('{"psnr_db": 20.5, "l1": null}')
    assert task.stage() is None
    found = task.measurement()
    assert found is not None
    assert (found.figures["psnr_db"], found.iterations, found.pairs, found.minutes) == (20.5, 5, 10, 2.0)
    assert found.figures["l1"] != found.figures["l1"]
    assert json.loads((task.folder / "trained.json").read_text())["clips"] == 7
    (tmp_path / "full-seed1").mkdir()
    (tmp_path / "notes-seedling").mkdir()
    assert [(m.variant, m.seed) for m in measurements(request(), tmp_path)] == [("smc", 0)]


def test_minutes_count_what_was_trained_before(tmp_path: Path) -> None:
    task = Task(request(steps=None, minutes=3.0), tmp_path / "smc-seed0", "smc", 0)
    assert options(task.command(Stage("train"), device="cuda"))["--max-minutes"] == "3.0000"
    checkpoint(task.folder, iteration=7, seconds=90)
    (task.folder / "config.json").touch()
    assert options(task.command(Stage("train"), device="cuda"))["--max-minutes"] == "1.5000"
    task.settle(Stage("train"))
    assert task.stage() == Stage("render")


@pytest.mark.parametrize("begun", ["config.json", "trained.json"])
def test_unequal_requests_do_not_share_a_folder(tmp_path: Path, begun: str) -> None:
    claim(tmp_path / "runs", request(steps=7))
    (tmp_path / "runs" / "smc-seed0").mkdir()
    (tmp_path / "runs" / "smc-seed0" / "log.txt").write_text("error: out of GPU memory")
    claim(tmp_path / "runs", request())  # nothing was begun
    (tmp_path / "runs" / "smc-seed0" / begun).write_text("{}")
    claim(tmp_path / "runs", request(data="elsewhere/clips", val=None))
    with pytest.raises(ConfigError, match="another settings, steps"):
        claim(tmp_path / "runs", request(steps=6, settings=()))


def test_weights_of_an_equal_number_of_steps_are_measured_too(tmp_path: Path) -> None:
    """A budget of minutes gives a fast variant more steps: with ``at`` both comparisons are there."""
    asked = request(steps=None, minutes=3.0, at=4)
    task = Task(asked, tmp_path / "smc-seed0", "smc", 0)
    assert "training.every.weights=4" in task.command(Stage("train"), device="cpu")
    checkpoint(task.folder, iteration=3)
    with pytest.raises(TaskError, match="iteration 3 of 4"):
        task.settle(Stage("train"))
    checkpoint(task.folder, iteration=8, seconds=240)
    for name in ("weights", "weights-4", "weights-8"):
        (task.folder / name).mkdir()
    task.settle(Stage("train"))
    assert sorted(path.name for path in task.folder.glob("weights*")) == ["weights", "weights-4"]
    stages = []
    while (stage := task.stage()) is not None:
        stages.append(str(stage))
        made = {"render": "frames", "measure": "figures"}[stage.action] + stage.weights.removeprefix("weights")
        if stage.action == "render":
            (task.folder / made).mkdir()
        else:
            (task.folder / f"{made}.json").write_text(json.dumps({"psnr_db": 20.0 + len(stages)}))
        task.settle(stage)
        assert stage.weights in task.command(stage, device="cpu")
    assert stages == ["render", "render weights-4", "measure", "measure weights-4"]
    (final,), (early,) = (measurements(asked, tmp_path, weights) for weights in asked.weights)
    assert (final.iterations, final.pairs, final.minutes, final.figures["psnr_db"]) == (8, 16, 4.0, 23.0)
    assert (early.iterations, early.pairs, early.minutes, early.figures["psnr_db"]) == (4, 8, 2.0, 24.0)


def test_runs_on_different_clips_do_not_compare(tmp_path: Path) -> None:
    for seed, clips in ((0, 7), (1, 8)):
        task = Task(request(), tmp_path / f"smc-seed{seed}", "smc", seed)
        checkpoint(task.folder, iteration=5, clips=clips)
        task.settle(Stage("train"))
        (task.folder / "figures.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"smc-seed0 and smc-seed1 .* different clips"):
        measurements(request(), tmp_path)
