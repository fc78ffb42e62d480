"""The scripts of benchmarks/ run from end to end: tiny model, two short clips, a step or two."""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from synhead.app.models import untrained
from synhead.config import preset
from synhead.data.face_points import save_points
from synhead.data.image import write_image
from synhead.inference.engine import Engine
from synhead.model.talking_head import TalkingHead
from synhead.types import FacePoint
from synhead.weights import checkpoint
from synhead.weights.checkpoint import load, save
from tests.data.clip_factory import write_shard, write_video
from tests.inference.conftest import blobs
from tests.training.training_factory import RepeatingRecorder

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
TWELVE = replace(preset("tiny"), keypoints=replace(preset("tiny").keypoints, count=12, detail="patches"))
LACKING = (
    *("mediapipe", "skimage", "tensorboard", "c2pa", "cryptography", "fastapi"),
    *("onnx", "onnxruntime", "onnxscript", "cv2", "torchvision"),
)


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("a", "b", "c")):
        write_video(folder / "raw" / f"{name}.mp4", clip=number, frames=6, size=64)
    (folder / "set").mkdir()
    write_shard(folder / "set" / "train-000.tar", folder / "raw", {"a": {"person": "a"}, "b": {"person": "b"}})
    write_shard(folder / "set" / "val.tar", folder / "raw", {"c": {"person": "c"}})
    return folder / "set"


@pytest.fixture
def lacking(tmp_path: Path) -> dict[str, str]:
    """Environment of a machine that has only what training needs."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(f"import sys; sys.modules.update(dict.fromkeys({LACKING}))")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT / "src")])}


@pytest.mark.slow
def test_agreement_compares_draws_and_goes_on(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    given = ["--data", str(clips), "--preset", "tiny", "--batch", "1", "--steps", "2", "--seeds", "0", "1"]
    given += ["--adversarial-start", "1", "--perceptual", "none", "--window", "1", "--device", "cpu"]
    given += ["--candidate", "tf32:off", "--out", str(out)]
    module = script("agreement")
    verdict = module["main"](given)
    report = json.loads((out / "agreement.json").read_text())
    assert verdict == 0, "TF32 is of GPUs: on a CPU both modes are the same"
    assert {"total", "pixel", "discriminator_real"} <= report["terms"].keys()
    assert report["terms"]["total"]["between_modes"] == 0 < report["terms"]["total"]["between_seeds"]
    first, second = report["curves"]["fp32, eager"]
    assert first["total"] != second["total"]
    assert first["discriminator_real"][0] is None
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert len(kept) == 4
    assert module["main"](given) == verdict
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.npz")} == kept
    module["main"]([*given, "--candidate-seeds", "1"])  # compares what was kept
    fewer = json.loads((out / "agreement.json").read_text())
    assert [len(curves) for curves in fewer["curves"].values()] == [2, 1]
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.npz")} == kept
    capsys.readouterr()


def test_agreement_tells_modes_that_differ() -> None:
    module = script("agreement")
    seeds = [{"total": np.array([1.0, 2.0, 3.0])}, {"total": np.array([1.1, 2.1, 3.1])}]
    near, far = ([{"total": curves["total"] + shift} for curves in seeds] for shift in (0.01, 1.0))
    assert module["agrees"](module["compare"](seeds, list(zip(seeds, near, strict=True)), 2)["total"])
    found = module["compare"](seeds, list(zip(seeds, far, strict=True)), 2)["total"]
    assert not module["agrees"](found)
    assert found["bias"] == pytest.approx(1.0)
    assert found["between_seeds"] == pytest.approx(0.1)


@pytest.mark.slow
def test_losses_finish_what_was_cut_on_a_machine_that_lacks_much(
    clips: Path, tmp_path: Path, lacking: dict[str, str]
) -> None:
    def run(*more: str) -> subprocess.CompletedProcess[str]:
        given = ["--data", str(clips), "--preset", "tiny", "--iterations", "11", "--frames", "1", "--out", "out", *more]
        quick = "-- --device cpu --precision fp32 --compile off --batch 1 --set training.every.check=1"
        return subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "losses.py"), *given, *quick.split()],
            env=lacking, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    cut = run("--only", "pixel", "--max-minutes", "0.01")
    assert cut.returncode == 1, cut.stderr[-2000:]
    assert re.search(r"pixel: cut short at iteration \d; call again", cut.stdout)
    done = run("--only", "pixel")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "going on from" in done.stdout + done.stderr
    row = json.loads((tmp_path / "out" / "losses.json").read_text())["pixel"]
    assert row["iteration"] == 11  # though the last validation was at 10
    assert row["psnr"] > 0
    assert "akd.mediapipe" not in row
    assert len(list((tmp_path / "out" / "pixel" / "frames" / "synhead" / "c").glob("*.png"))) == 1

    none_left = run("--only", "matching", "--max-minutes", "0.0")
    assert none_left.returncode == 1
    assert "pixel" in json.loads((tmp_path / "out" / "losses.json").read_text()), "earlier calls stay in the table"


def test_train_measures_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = "--preset tiny --batch 1 --precision fp32 --device cpu --steps 1 --windows 1 --warmup 1 --frames 16"
    assert script("train")["main"]([*given.split(), "--perceptual", "none", "--out", str(tmp_path)]) == 0
    (result,) = json.loads((tmp_path / "train.json").read_text())["results"]
    assert result["samples_per_second"] > 0
    assert result["tflop_per_sample"] > 0
    assert "tiny" in capsys.readouterr().out


def test_gradients_are_compared_and_what_is_no_number_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert script("gradients")["main"](["--preset", "tiny", "--batch", "1", "--device", "cpu"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "whole" in line]
    assert len({row[28:] for row in rows}) == 1, "there are no kernels on a CPU"
    assert "NOT FINITE" not in rows[0]


def test_gradients_that_point_elsewhere_are_told() -> None:
    parts = script("gradients")
    right, turned = {"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([2.0, -1.0])}
    lost = {"a": torch.tensor([1.0, torch.nan])}
    modes = parts["MODES"]
    for last, sound in ((right, True), (turned, False), (lost, False)):
        found = dict(zip(modes, (right, right, right, last), strict=True))
        parts["check"].__globals__["differentiate"] = lambda mode, *_, found=found: found[mode]
        assert parts["check"]("tiny", 1, "cpu") == sound


@pytest.mark.slow
@pytest.mark.parametrize("stale", [False, True])
def test_replays_are_compared_and_a_stale_one_is_told(stale: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001
    """A recording that does not see what changes gives the gradients of another batch."""

    class Stale(RepeatingRecorder):
        def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
            results, replay = super().record(work)
            done: list[None] = []
            return results, lambda: None if done else done.append(replay())  # type: ignore[func-returns-value]

    kind = Stale if stale else RepeatingRecorder
    sound = script("replays")["check"](
        "tiny", "synhead", 1, "cpu", lambda state: kind(state.model, state.discriminator)
    )
    assert sound is not stale
    shown = capsys.readouterr().out
    assert "17 terms" in shown
    turned = dict(re.findall(r"  (replayed|another batch) .* turn by (\S+)", shown))
    assert float(turned["another batch"]) > 0.1
    assert (float(turned["replayed"]) > 0.1) == stale


def test_attention_has_its_cases_and_asks_for_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    parts = script("attention")
    options = argparse.Namespace(batch=2, tokens=20, heads=2, width=[4, 8], keys=[7, 9], kind=["masked", "codes"])
    cases = list(parts["cases"](options))
    assert [(case.width, case.codes, case.masked) for case in cases[:3]] == [
        (4, None, True),
        (4, 7, False),
        (4, 9, False),
    ]
    assert len(cases) == 6
    for case in cases:
        _, key, _, ignored = case.inputs("cpu")
        assert (key is None) == (case.codes is None)
        assert (ignored is None) != case.masked
        _, both = parts["library"](case, "cpu")
        assert [part.shape[2] for part in both()] == [20, *[case.codes or 20] * 2]
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="GPU"):
            parts["main"]([])


def test_inference_checks_animates_and_survives_a_case_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("inference")
    video = write_video(tmp_path / "v.mp4", frames=3, size=64)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    real = module["build"]
    given = ["--preset", "tiny", "--engine", "published", "eager", "prepared", "--rounds", "1", "--device", "cpu"]
    given += ["--check", "--video", str(video), "--json", str(tmp_path / "r.json"), "--resident"]
    replaced = module["main"].__globals__
    replaced["build"] = lambda model, name, *rest: fail() if name == "eager" else real(model, name, *rest)
    assert module["main"]([*given, "--against", f"{sys.executable} -c pass"]) == 1
    told = capsys.readouterr()
    assert "tiny eager fp32 batch 1 FAILED: RuntimeError: out of memory" in told.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert [result["engine"] for result in report["results"]] == ["published", "prepared"]
    assert report["end_to_end"]["tiny"]["fps"] > 0
    assert report["against_s"] > 0


def test_inference_at_another_size(capsys: pytest.CaptureFixture[str]) -> None:
    given = "--preset tiny --size 128 --engine eager prepared --rounds 1 --calls 1 --device cpu --check"
    assert script("inference")["main"](given.split()) == 0
    assert "tiny prepared fp32 batch 1: 0.0" in capsys.readouterr().out


@pytest.fixture
def engines(tmp_path: Path) -> list[str]:
    """What engines.py is given: a photo and a clip."""
    write_image(tmp_path / "photo.png", blobs(0, 128))
    video = write_video(tmp_path / "v.mp4", frames=9, size=64)
    return f"--source {tmp_path / 'photo.png'} --driving {video} --json {tmp_path / 'e.json'}".split()


def test_engines_are_compared_in_both_precisions_and_sizes(
    engines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = checkpoint.save(untrained("tiny"), tmp_path / "noisy")  # said to be trained, so bf16 is too far off
    given = ["--checkpoint", str(noisy), "--engine", "prepared", "--times", "1", "2", "--batch", "1", "3"]
    assert script("engines")["main"]([*engines, *given]) == 1
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["failed"] == []
    rows = report["rows"]
    assert [row["batch"] for row in rows] == [1, 3] * 4
    assert [row["size"] for row in rows] == [64] * 4 + [128] * 4
    assert all(row["agrees"] and row["mean"] < 0.1 for row in rows if row["precision"] == "fp32")
    assert all(row["mean"] > 0.1 for row in rows if row["precision"] == "bf16")
    assert not all(row["agrees"] for row in rows)
    assert "128 px: frames spread by" in capsys.readouterr().out


def test_engines_that_differ_or_fail_are_told(
    engines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("engines")
    replaced, real = module["main"].__globals__, module["build"]

    def build(model: TalkingHead, name: str, *rest: Any) -> Engine:
        if name == "native":
            raise RuntimeError("out of memory")
        if name == "prepared":
            model = copy.deepcopy(model)
            model.decoder.head.bias.data += 0.02
        return real(model, name, *rest)

    replaced["build"] = build
    given = ["--preset", "tiny", "--engine", "eager", "prepared", "native", "--precision", "fp32", "--batch", "1"]
    assert module["main"]([*engines, *given]) == 1
    report = json.loads((tmp_path / "e.json").read_text())
    assert {row["engine"]: row["agrees"] for row in report["rows"]} == {"eager": True, "prepared": False}
    assert report["failed"] == ["tiny 64 px native fp32 batch 1 FAILED: RuntimeError: out of memory"]
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.slow
def test_engines_look_into_the_graph(engines: list[str], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert (
        script("engines")["main"]([*engines, "--preset", "tiny", "--times", "2", "--engine", "onnx", "--batch", "2"])
        == 0
    )
    (row,) = json.loads((tmp_path / "e.json").read_text())["rows"]
    assert 0 < row["image"] <= 1e-3


def test_stretched_weights_see_the_same_tokens() -> None:
    model = untrained("tiny")
    larger = script("engines")["stretch"](model, 2)
    assert larger.config.image_size == 128
    for scale in model.config.scales:
        small, large = (m.appearance_compensation.projection(s) for m, s in ((model, scale), (larger, 2 * scale)))
        feature = torch.randn(1, model.config.width(scale), scale, scale)
        tokens = small.to_tokens(feature)
        torch.testing.assert_close(large.to_tokens(doubled(feature)), tokens, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(large.to_feature(tokens), doubled(small.to_feature(tokens)))
    assert torch.equal(larger.decoder.head.weight, model.decoder.head.weight)


def test_stretched_weights_see_the_same_patches() -> None:
    model = TalkingHead(TWELVE).eval()
    larger, picture = script("engines")["stretch"](model, 2), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        seen = [m.keypoint_detector.downscale(each) for m, each in ((model, picture), (larger, doubled(picture)))]
    torch.testing.assert_close(*seen, atol=1e-5, rtol=1e-4)


def doubled(feature: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(feature, scale_factor=2, mode="nearest")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_batch_killed_half_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    given = ["--jobs", "8", "--frames", "20", "--kill", "worker", "queue", "--folder", str(tmp_path / "b")]
    assert script("batch")["main"](given) == 0
    *_, worker, queue, verdict = capsys.readouterr().out.splitlines()
    assert worker.startswith("| worker | 8 | 0 | 8 | 8 | 0 | 1 | 8 | 0 |")
    assert queue.startswith("| queue | 8 | 0 | 8 | 8 | 0 | 0 | 8 | 0 |")
    assert verdict == "good"


@pytest.mark.slow
def test_live_tells_where_a_frame_spends_its_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mediapipe")
    pytest.importorskip("playwright")
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("no Chromium on this machine")
    given = "--preset tiny --precision fp32 --camera 320x240 --warmup 1 --seconds 2 --device cpu"
    assert script("live")["main"]([*given.split(), "--json", str(tmp_path / "live.json")]) == 0
    (result,) = json.loads((tmp_path / "live.json").read_text())["results"]
    assert result["fps"] > 1
    assert result["shown"] > 2
    ways = result["stages_ms"]
    assert list(ways) == ["page", "travel", "wait", "decode", "faces", "turn", "keypoints", "draw", "encode", "show"]
    assert 0 < ways["draw"] < result["latency_median_ms"]
    assert "frames/s, latency" in capfd.readouterr().out


@pytest.mark.slow
def test_keypoints_are_led_before_anything_else(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    points = {name: random.uniform(0.3, 0.7, (6, len(FacePoint), 2)) for name in "abc"}
    save_points(points, tmp_path / "points.npz")
    landmarks = str(tmp_path / "points.npz")
    save(TalkingHead(TWELVE), tmp_path / "new", trained=False)
    given = ["--data", str(clips), "--landmarks", landmarks, "--val", str(clips), "--val-landmarks", landmarks]
    given += ["--init", str(tmp_path / "new"), "--steps", "2", "--batch", "2", "--every", "1", "--device", "cpu"]
    assert script("keypoints")["main"]([*given, "--out", str(tmp_path / "led")]) == 0
    assert re.search(r"step 2: landmarks [\d.]+ px, openings [\d.]+ px; held out [\d.]+", capsys.readouterr().out)
    before, after = (load(tmp_path / name).state_dict() for name in ("new", "led"))
    changed = {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == {"keypoint_detector"}


def test_nothing_that_a_training_machine_lacks_is_imported(lacking: dict[str, str]) -> None:
    code = """
import runpy, synhead.app.cli, synhead.app.training, synhead.app.evaluation
from synhead.app.train import train
for name in "train inference agreement features losses loader keypoints".split():
    runpy.run_path(f"benchmarks/{name}.py")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=lacking, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_web_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "tests.app.web.small_server", str(tmp_path)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        given = [address, "--clients", "8", "--minutes", "0.08", "--every", "1", "--process", str(server.pid)]
        assert script("web")["main"](given) == 0, capsys.readouterr().out
    finally:
        server.terminate()
        server.wait()
    told = capsys.readouterr().out
    assert "0 faults" in told
    assert re.search(r"\d+ done", told)
    assert re.search(r"server \d+ MiB", told)
