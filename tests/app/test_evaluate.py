"""``synhead evaluate`` and ``synhead score``, with the metrics that need no face."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synhead.evaluation.folders import save_pictures
from tests.app.conftest import Finished

Run = Callable[..., Finished]
METRICS = ("--metrics", "psnr,l1")
COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two clips of four frames, of the tiny model's size."""
    for seed, name in enumerate(("ann", "bob")):
        frames = np.random.default_rng(seed).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
        save_pictures(tmp_path / "clips" / "val" / name, frames)
    return tmp_path / "clips"


def report_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "report.json").read_text())


def test_reconstruction_with_rivals_and_published_rows(run: Run, clips: Path, tiny: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    perfect = clips / "val"
    command = f'{sys.executable} -c "{COPY}" {{driving_frames}} {{output_frames}}'
    given = ("evaluate", tiny, "--data", clips, "--frames", 2, "-o", out, "--save-frames", kept, *METRICS)
    rivals = ("--rival", f"truth={perfect}", "--rival-command", f"mirror={command}", "--published", "table1-voxceleb1")
    finished = run(*given, *rivals)
    assert finished.code == 0, finished.err
    facts = report_of(out)
    rows = {row["system"]: row for row in facts["rows"]}
    assert list(rows)[:5] == ["copy", "warp", "synhead", "truth", "mirror"]
    assert rows["truth"]["figures"]["l1"] == rows["mirror"]["figures"]["l1"] == {"value": 0.0, "frames": 4}
    assert rows["copy"]["figures"]["l1"]["value"] > 0.1
    assert rows["FOMM"]["origin"] == "published figure"
    assert facts["weights"][f"{tiny}/model.safetensors"]
    assert "| truth " in finished.out
    assert (out / "report.html").is_file()
    assert (out / "sheet.png").is_file()
    assert len(list((kept / "synhead" / "bob").iterdir())) == 2
    again = tmp_path / "again"
    own = ("evaluate", tiny, "--data", clips, "--frames", 2, "-o", again, "--own", "", *METRICS)
    assert run(*own, "--rival", f"kept={kept / 'synhead'}").code == 0
    (row,) = report_of(again)["rows"]
    assert row["figures"] == rows["synhead"]["figures"]


def test_reenactment_with_pairs(run: Run, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("source,driving,reference_frame\nann,bob,1\nann,zoe,0\n")
    given = ("evaluate", "--preset", "tiny", "--data", clips, "--protocol", "reenactment", "-o", tmp_path / "out")
    finished = run(*given, "--pairs", tmp_path / "pairs.csv", "--metrics", "aed.published")
    assert finished.code == 0, finished.err
    facts = report_of(tmp_path / "out")
    assert facts["unreadable"] == [{"name": "ann--zoe", "reason": "no clip named zoe in the data"}]
    assert [video["name"] for video in facts["rows"][0]["videos"]] == ["ann--bob"]
    assert "openface.pth" in finished.out
    assert "UNTRAINED" in finished.err


def test_reenactment_needs_two_people(run: Run, tmp_path: Path) -> None:
    for name in ("ann#1", "ann#2"):
        save_pictures(tmp_path / "clips" / "val" / name, np.zeros((2, 64, 64, 3), np.uint8))
    given = ("evaluate", "--preset", "tiny", "--data", tmp_path / "clips", "-o", tmp_path / "out")
    finished = run(*given, "--protocol", "reenactment")
    assert finished.code == 2
    assert "no two clips of different people to pair; name pairs with --pairs" in finished.err
    assert not (tmp_path / "out").exists()


def test_nothing_to_measure_is_an_error(run: Run, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("video\ncyd\n")
    given = ("evaluate", "--preset", "tiny", "--data", clips, "-o", tmp_path / "out", *METRICS, "--own", "copy")
    finished = run(*given, "--videos", tmp_path / "videos.csv")
    assert finished.code == 2
    assert "nothing could be measured, such as cyd (no clip of that name in the data)" in finished.err
    (tmp_path / "others").mkdir()
    save_pictures(tmp_path / "others" / "dan", np.zeros((2, 64, 64, 3), np.uint8))
    score = ("score", "--generated", tmp_path / "others", "--reference", clips / "val", "-o", tmp_path / "out")
    finished = run(*score, *METRICS)
    assert finished.code == 2
    assert "nothing could be measured, such as dan (a result without a reference of its name)" in finished.err
    assert not list((tmp_path / "out").iterdir())


def test_list_of_videos(run: Run, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("video\nbob\ncyd\n")
    given = ("evaluate", "--preset", "tiny", "--data", clips, "-o", tmp_path / "out", *METRICS, "--own", "copy")
    assert run(*given, "--videos", tmp_path / "videos.csv").code == 0
    facts = report_of(tmp_path / "out")
    assert facts["rows"][0]["counts"] == {"videos": 1, "frames": 4, "skipped_frames": 0, "problems": 0}
    assert facts["unreadable"][0]["name"] == "cyd"


def test_a_contact_sheet_of_an_earlier_run_does_not_stay(run: Run, clips: Path, tmp_path: Path) -> None:
    given = ("score", "--generated", clips / "val", "--reference", clips / "val", "-o", tmp_path, *METRICS)
    for pictures, there in ((1, True), (0, False)):
        assert run(*given, "--pictures", pictures).code == 0
        assert (tmp_path / "sheet.png").exists() is there


def test_score_twice_gives_the_same_bytes_but_for_the_date(run: Run, clips: Path, tmp_path: Path) -> None:
    generated = tmp_path / "generated"
    frames = np.random.default_rng(5).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    save_pictures(generated / "ann", frames)
    save_pictures(generated / "dan", frames)
    texts = []
    for name in ("one", "two"):
        out = tmp_path / name
        finished = run("score", "--generated", generated, "--reference", clips / "val", "-o", out, *METRICS)
        assert finished.code == 0, finished.err
        facts = report_of(out)
        texts.append((out / "report.json").read_text().replace(str(facts["created"]), ""))
    assert texts[0] == texts[1]
    (row,) = facts["rows"]
    assert [problem["reason"] for problem in row["problems"]] == [
        "3 frames for 4; the first 3 are compared",
        "no result named bob",
    ]
    assert facts["unreadable"] == [{"name": "dan", "reason": "a result without a reference of its name"}]
    assert "no result named bob" in finished.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metrics", "beauty"), "no metric beauty"),
        (("--published", "table9"), "no published table table9"),
        (("--rival", "FOMM"), "expected NAME=VALUE"),
        (("--rival", "copy=x"), "two systems are called copy"),
        (("--rival", "../copy=x"), "give a name without / and .."),
        (("--rival-command", "..=x"), "give a name without / and .."),
        (("--own", "ours"), "--own ours"),
        (("--own", ""), "nothing to measure"),
        (("--pairs", "pairs.csv"), "--pairs needs --protocol reenactment"),
        (("--videos", "no.csv"), "no.csv does not exist"),
        (("--download-weights",), "--weights-dir"),
    ],
)
def test_bad_options_give_one_line(
    run: Run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.delenv("SYNHEAD_WEIGHTS", raising=False)
    finished = run("evaluate", "--preset", "tiny", "--data", clips, "-o", tmp_path / "out", *options)
    assert finished.code == 2
    assert said in finished.err
