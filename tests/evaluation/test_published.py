"""The shipped tables against the paper's text where it is at hand, and against its sums everywhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from synhead.evaluation.metrics import metric
from synhead.evaluation.published import published_rows, published_tables

PAPER = Path(os.environ.get("SYNHEAD_PAPER", Path(__file__).parents[3] / "shared" / "paper.txt"))
PRINTED_AS = {"the authors": "Ours", "Follow-Your-Emoji": "FYE"}

# Sums of the columns FID, PSNR, L1, LPIPS, AKD, AED of the paper's text, not of the shipped file.
SUMS = {
    "table1-voxceleb1": (446.31, 208.39, 0.43297, 2.0073, 14.747, 1.4792),
    "table1-celebvhq": (660.07, 188.81, 0.6474, 2.5632, 35.7675, 2.6618),
    "table2": (229.16, 125.63, 0.1823, 0.9448, 6.0883, 0.5511),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_the_papers_columns(name):
    rows = published_tables()[name].rows.values()
    columns = list(zip(*(row.values() for row in rows), strict=True))
    assert [sum(column) for column in columns] == pytest.approx(SUMS[name], abs=1e-6)


def test_a_few_figures_copied_by_hand():
    assert published_tables()["table1-voxceleb1"].rows["the authors"] == {
        "fid.published": 43.15,
        "psnr": 25.30,
        "l1": 0.0355,
        "lpips": 0.1846,
        "akd.published": 1.2039,
        "aed.published": 0.1071,
    }
    assert published_tables()["table1-celebvhq"].rows["AniPortrait"]["akd.published"] == 1.9444
    assert published_tables()["table2"].rows["Baseline + SMC"]["aed.published"] == 0.1167


def test_rows_say_that_they_are_published_and_name_metrics_that_exist():
    for name in published_tables():
        for row in published_rows(name):
            assert row.origin == "published figure"
            assert all(metric(one).variant in ("published", "both") for one in row.figures)
    assert len(published_rows("table1-voxceleb1")) == 9
    with pytest.raises(KeyError):
        published_rows("table3")


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here: $SYNHEAD_PAPER")
def test_table_1_is_the_papers():
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    tables = published_tables()
    for method in tables["table1-voxceleb1"].rows:
        printed = PRINTED_AS.get(method, method)
        line = next(one for one in lines if re.match(rf"^\d*\t{printed}[ \t]", one) and one.count("\t") > 12)
        numbers = [float(cell) for cell in re.sub(r"<[^>]+>", "", line).split("\t")[2:]]
        expected = [*tables["table1-voxceleb1"].rows[method].values(), *tables["table1-celebvhq"].rows[method].values()]
        assert numbers == expected, method


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here: $SYNHEAD_PAPER")
def test_table_2_is_the_papers():
    """The text has lost the order of cells in places (the last row, the second label): rows are compared as sets."""
    text = PAPER.read_text(encoding="utf-8")
    table = text[text.index("Baseline 47.83") : text.index("Table 2:")]
    numbers = [float(cell) for cell in re.findall(r"\d+\.\d+", table)]
    printed = [sorted(numbers[start : start + 6]) for start in range(0, len(numbers), 6)]
    assert printed == [sorted(row.values()) for row in published_tables()["table2"].rows.values()]
