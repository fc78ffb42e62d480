from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from synhead.evaluation.ablation import Measurement, summarise


def run(variant, seed, psnr, l1=0.04, landmarks=math.nan):
    figures = {"psnr_db": psnr, "l1": l1, "landmark_distance_px": landmarks}
    return Measurement(variant, seed, figures, iterations=100, pairs=400, minutes=1.5)


def test_rows_stand_in_the_papers_order_with_mean_and_half_range():
    table = summarise([run("full", 0, 22.0), run("baseline", 1, 21.0), run("baseline", 0, 20.0), run("smc", 0, 20.6)])
    assert [row.variant for row in table.rows] == ["baseline", "smc", "full"]
    assert table.rows[0].seeds == (0, 1)
    assert table.rows[0].mean["psnr_db"] == pytest.approx(20.5)
    assert table.rows[0].spread["psnr_db"] == pytest.approx(0.5)
    lines = table.to_markdown().splitlines()
    assert lines[2].startswith("| baseline | 0, 1 | 20.50 ±0.50 | 0.0400 ±0.0000 | - | - |")
    assert lines[3].startswith("| + SMC | 0 | 20.60 | 0.0400 |")


def verdicts(*measurements):
    return {(o.field, o.worse, o.better): o.verdict for o in summarise(measurements).orderings()}


def test_orderings_hold_fail_or_drown_in_the_spread_of_seeds():
    found = verdicts(
        *[run("baseline", seed, 20.0 + seed / 10, l1=0.040 + seed / 1e4) for seed in (0, 1)],
        *[run("smc", seed, 20.1 + seed / 10, l1=0.050 + seed / 1e4) for seed in (0, 1)],
        *[run("mmc", seed, 25.0 + seed / 10, l1=0.030) for seed in (0, 1)],
    )
    assert "within the spread" in found["psnr_db", "baseline", "smc"]
    assert found["l1", "baseline", "smc"] == "does not hold"
    assert found["psnr_db", "smc", "mmc"] == "holds"
    assert found["landmark_distance_px", "smc", "mmc"] == "not measured"


def test_the_paper_itself_finds_mmc_with_sac_worse_by_psnr():
    found = verdicts(run("mmc", 0, 25.0), run("mmc_sac", 0, 24.0))
    assert found["psnr_db", "mmc_sac", "mmc"].startswith("holds, though a row of one seed")


def test_rows_of_pictures_without_faces_are_told():
    """They look good by the few pictures that show one."""
    counted = {"frames": 40.0, "faceless": 39.0}
    runs = [run("full", seed, 21.0, landmarks=1.0) for seed in (0, 1)]
    runs[0] = replace(runs[0], figures={**runs[0].figures, **counted})
    runs[1] = replace(runs[1], figures={**runs[1].figures, **counted, "faceless": 0.0})
    older = run("baseline", 0, 20.0, landmarks=1.0)
    whole = replace(run("smc", 0, 20.0), figures={"frames": 40.0, "faceless": 0.0})
    text = summarise([*runs, older, whole]).to_markdown()
    assert text.count("no face in") == 1
    assert (
        "- + MMC + MAC (full): no face in 39 of 80 pictures (or driving frames): face figures are of the others" in text
    )
    assert text.count("--rival ROW=RUN/frames") == 1
    assert "--rival" not in summarise([older, whole]).to_markdown()


def test_files(tmp_path):
    table = summarise([run("no_addition", 0, 20.0), run("full", 0, 21.0)])
    stored, words = table.write(tmp_path)
    tree = json.loads(stored.read_text())
    assert [row["variant"] for row in tree["rows"]] == ["full", "no_addition"]
    assert tree["measurements"][0]["figures"]["landmark_distance_px"] is None
    assert "| no_addition | 0 | 20.00 |" in words.read_text()
    assert tree["orderings"] == []
