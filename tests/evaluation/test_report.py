"""The report's form, its bytes, and how it reads as a table and as a page."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from synhead.data.records import Skipped
from synhead.evaluation.gauges.fan import FanGauge
from synhead.evaluation.gauges.pixels import PixelGauge
from synhead.evaluation.metrics import applicable
from synhead.evaluation.page import Pictures, html_page, write_page
from synhead.evaluation.published import published_rows
from synhead.evaluation.report import SCHEMA_FILE, Figure, Protocol, Report, installed_versions, write_report
from synhead.evaluation.scoring import score_systems
from synhead.evaluation.systems import FolderSystem, RenderedSystem
from synhead.evaluation.table import markdown_tables, remarks, same_frames
from tests.evaluation.gauges.test_fan import points_of


@pytest.fixture
def make_report(make_trial, tmp_path):
    def half(trial):
        frames = trial.driving.copy()
        frames[0] = 0
        return frames

    def make(created="2026-01-01T00:00:00+00:00"):
        trials = [make_trial("a", 1), Skipped("<bad>", "damaged")]
        systems = [RenderedSystem("half", "by hand", half), FolderSystem("absent", tmp_path)]
        wanted = tuple(one.id for one in applicable(same_identity=True))
        rows, unreadable = score_systems(trials, systems, (PixelGauge(), FanGauge(points_of)), wanted)
        return Report(
            created=created,
            protocol=Protocol(name="reconstruction", description="A test.", frames=None, size=32, videos=2),
            metrics=applicable(same_identity=True),
            needs={"lpips": "needs vgg16.pth (somewhere; SHA-256 00)"},
            rows=(*rows, *published_rows("table1-voxceleb1")),
            inputs=unreadable,
            weights={"net.pth": "0" * 64},
            versions=installed_versions(),
            notes=("UNTRAINED",),
        )

    return make


def test_json_fits_its_schema(make_report):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    facts = json.loads(make_report().to_json())
    jsonschema.validate(facts, schema)
    for path in (["rows", 0, "origin"], ["weights", "net.pth"], ["protocol", "name"]):
        broken = json.loads(json.dumps(facts))
        place = broken
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = "measured by someone"
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_made_twice_only_the_date_differs(make_report, tmp_path):
    first, second = make_report(), make_report("2027-02-02T00:00:00+00:00")
    assert first.to_json() != second.to_json()
    assert first.to_json() == second.to_json().replace(second.created, first.created)
    write_report(first, tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text() == first.to_json()


def test_what_the_json_tells(make_report):
    facts = json.loads(make_report().to_json())
    half, absent, *published = facts["rows"]
    assert half["counts"] == {"videos": 1, "frames": 3, "skipped_frames": 3, "problems": 0}
    assert {one["reason"] for one in half["skipped"]} == {
        "no face in the result",
        "32 pixels a side; this metric needs 176",
    }
    assert half["videos"][0]["values"]["akd.published"][0] is None
    assert half["figures"]["akd.published"] == {"value": 0.0, "frames": 2}
    assert half["common"]["akd.published"] == half["figures"]["akd.published"]
    assert (absent["common"], published[0]["common"]) == ({}, {})
    assert half["figures"]["ms_ssim"] == {"value": None, "frames": 0}
    assert absent["problems"] == [{"name": "a", "reason": "no result named a"}]
    assert facts["unreadable"] == [{"name": "<bad>", "reason": "damaged"}]
    assert {row["origin"] for row in published} == {"published figure"}
    missing = {one["id"]: one["missing"] for one in facts["metrics"]}
    assert missing["lpips"].startswith("needs vgg16.pth")
    assert missing["psnr"] is None
    assert facts["versions"]["numpy"] == np.__version__


def test_numbers_are_written_with_nine_digits(make_report):
    report = make_report()
    one = report.rows[0]
    text = replace(report, rows=(replace(one, figures={"l1": replace(one.figures["l1"], value=1 / 3)}),)).to_json()
    assert '"value": 0.333333333,' in text


def test_table_labels_every_row_and_leaves_missing_metrics_empty(make_report):
    report = make_report()
    figures, missing = markdown_tables(report).split("\n\n")
    head, rule, *lines = figures.splitlines()
    assert len({len(line) for line in (head, rule, *lines)}) == 1
    assert "AKD published px v" in head
    assert "MS-SSIM" not in head
    assert [line.split("|")[2].strip() for line in lines] == ["run by you"] * 2 + ["published figure"] * 9
    assert "the authors (paper, table 1, VoxCeleb1)" in lines[-1]
    lpips = [cell.strip() for cell in missing.splitlines()[2].split("|")]
    assert lpips == ["", "LPIPS v", "", "needs vgg16.pth (somewhere; SHA-256 00)", ""]


def test_a_second_table_where_systems_are_measured_on_different_frames(make_report):
    report = make_report()
    assert same_frames(report) == []
    (half, *others) = report.rows
    akd = "akd.published"
    whole = replace(half, system="whole", figures={**half.figures, akd: Figure(1.5, 3)}, common={akd: Figure(0.5, 2)})
    both = replace(report, rows=(half, whole, *others))
    assert same_frames(both) == [
        ["on the same frames (share measured)", "frames", "half", "whole"],
        ["AKD published px v", "2 of 3", "0.0000 (66.7%)", "0.5000 (100.0%)"],
    ]
    _, second, _ = markdown_tables(both).split("\n\n")
    assert "| AKD published px v | 2 of 3 | 0.0000 (66.7%) | 0.5000 (100.0%) |" in " ".join(second.split())
    assert "<td>0.5000 (100.0%)</td>" in html_page(both)


def test_remarks_name_everything_left_out(make_report):
    said = "\n".join(remarks(make_report()))
    assert "UNTRAINED" in said
    assert "unreadable <bad>: damaged" in said
    assert "absent: a: no result named a" in said
    assert "half: 1 frames not measured by akd.published, akd.standard, no face in the result: a/1" in said


def test_a_row_of_fewer_frames_is_told(make_report):
    report = make_report()
    (video,) = report.rows[0].videos
    short = replace(report.rows[0], system="short", videos=(replace(video, frames=video.frames[:2]),))
    said = [line for line in remarks(replace(report, rows=(*report.rows, short))) if "measured on" in line]
    assert said == ["short: measured on 2 of 3 frames: its figures do not compare with those of rows with all of them"]


def test_page_stands_alone_and_is_escaped(make_report, tmp_path):
    report = make_report()
    write_page(report, tmp_path / "report.html", Image.new("RGB", (8, 8), "red"))
    page = (tmp_path / "report.html").read_text()
    assert "src='data:image/jpeg;base64," in page
    assert "http" not in page
    assert "&lt;bad&gt;" in page
    assert "<bad>" not in page
    assert "needs vgg16.pth" in page
    assert page.count("class='published'") == 9
    assert "<img" not in html_page(report)


def test_pictures_keep_few_trials_and_draw_complete_ones(make_trial):
    pictures = Pictures(limit=1)
    assert pictures.sheet() is None
    first, second = make_trial("a"), make_trial("b")
    for trial in (first, second):
        for name in ("one", "two"):
            pictures.keep(trial, RenderedSystem(name, "", lambda t: t.driving), trial.driving)
    sheet = pictures.sheet()
    assert sheet is not None
    assert sheet.height == 14 + 128 + 14
    short = replace(first, driving=first.driving[:2], indices=first.indices[:2])
    pictures.keep(short, RenderedSystem("short", "", lambda t: t.driving), short.driving)
    assert pictures.sheet() is not None
    assert sheet.width == pictures.sheet().width
