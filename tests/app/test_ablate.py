"""``synhead ablate`` end to end: two variants, two seeds, a few steps of the tiny model on synthetic clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.conftest import Finished
from tests.data.clip_factory import write_video

Run = Callable[..., Finished]

SETTINGS = ("training.discriminator_width=4", "training.every.log=1")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for clip, name in enumerate(("train/a#1#0#6.mp4", "train/b#1#0#6.mp4", "val/c#1#0#6.mp4")):
        write_video(tmp_path / "clips" / name, clip=clip, frames=6, size=64)
    return tmp_path / "clips"


def call(run: Run, clips: Path, output: Path, *more: object) -> Finished:
    given = [part for setting in SETTINGS for part in ("--set", setting)]
    where = ("--data", clips, "-o", output, "--preset", "tiny", "--devices", "cpu", "--batch", 2)
    small = ("--variants", "baseline,smc", "--perceptual", "none")
    return run("ablate", *where, *small, *given, *more)


@pytest.mark.slow
def test_two_variants_two_seeds(run: Run, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    first = call(run, clips, output, "--steps", 2)
    assert first.code == 0, first.err
    assert "+ SMC" in first.out
    assert "the paper finds + SMC better than baseline" in first.out
    configs = [json.loads((output / f"{name}-seed0" / "config.json").read_text()) for name in ("baseline", "smc")]
    models = [config.pop("model")["name"] for config in configs]
    assert models == ["tiny-baseline", "tiny-smc"]
    assert configs[0] == configs[1]

    stamp = (output / "smc-seed0" / "weights" / "model.safetensors").stat().st_mtime_ns
    again = call(run, clips, output, "--steps", 2, "--seeds", "0,1", "--variants", "baseline")
    assert again.code == 0, again.err
    assert again.err.count("done before") == 1
    assert (output / "smc-seed0" / "weights" / "model.safetensors").stat().st_mtime_ns == stamp
    table = json.loads((output / "table2.json").read_text())
    assert [(row["variant"], row["seeds"]) for row in table["rows"]] == [("baseline", [0, 1]), ("smc", [0])]
    assert {m["pairs"] for m in table["measurements"]} == {4}
    assert table["rows"][0]["spread"]["psnr_db"] > 0
    assert table["rows"][0]["mean"]["landmark_distance_px"] is None
    assert "| baseline | 0, 1 |" in (output / "table2.md").read_text()
    assert "- baseline: no face in 10 of 10 pictures (or driving frames): there are no face figures" in again.out


@pytest.mark.slow
def test_measured_elsewhere(run: Run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where mediapipe is missing, pictures are kept; another machine needs no weights to measure them."""
    output, options = tmp_path / "runs", ("--steps", 4, "--at", 2, "--seeds", 0, "--variants", "smc")
    with monkeypatch.context() as here:
        here.setattr("synhead.app.ablate.find_spec", lambda _name: None)
        first = call(run, clips, output, *options)
    assert first.code == 0, first.err
    assert "call again" in first.err
    assert not (output / "table2.json").exists()
    folder = output / "smc-seed0"
    assert len(list(folder.glob("frames/**/*.png"))) == len(list(folder.glob("frames-2/**/*.png"))) == 5
    for name in ("weights", "weights-2", "checkpoints"):
        shutil.rmtree(folder / name)
    second = call(run, clips, output, *options)
    assert second.code == 0, second.err
    tables = [json.loads((output / f"{name}.json").read_text()) for name in ("table2", "table2-2")]
    texts = second.out.split("weights after 2 steps: ")
    assert ["table2.md" in text for text in texts] == [True, False]
    for text, table in zip(texts, tables, strict=True):
        assert f"| {table['rows'][0]['mean']['psnr_db']:.2f} |" in text, "a table stands below its name"
    assert [{m["iterations"] for m in table["measurements"]} for table in tables] == [{4}, {2}]
    assert len({m["figures"]["psnr_db"] for table in tables for m in table["measurements"]}) == 2


def test_wrong_use_is_one_line(run: Run, tmp_path: Path) -> None:
    wrong = {("--variants", "all"): "variant", ("--minutes", 1): "--steps", ("--preset", "huge"): "huge"}
    for options, words in wrong.items():
        finished = run("ablate", "--data", tmp_path, "-o", tmp_path / "runs", "--steps", 2, *options)
        assert finished.code == 2
        assert words in finished.err
    assert not (tmp_path / "runs").exists()


def test_held_out_clips_are_looked_for_before_training(run: Run, clips: Path, tmp_path: Path) -> None:
    """A folder without splits would be trained on whole, and its runs measured nowhere."""
    flat = tmp_path / "flat"
    shutil.copytree(clips / "train", flat)
    for data, words in ((flat, "no val split"), (tmp_path / "train-000.tar", "name held-out clips with --val")):
        finished = call(run, data, tmp_path / "runs", "--steps", 2)
        assert finished.code == 2
        assert words in finished.err
    assert not (tmp_path / "runs").exists()
