"""Whole evaluations with an easy gauge: perfect results, order, lengths, sizes, missing files, faces not found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synhead.data.records import Skipped
from synhead.evaluation.folders import reference_trials, save_pictures
from synhead.evaluation.gauges.fan import FanGauge
from synhead.evaluation.gauges.fid import FidGauge
from synhead.evaluation.gauges.gauge import FrameGauge, Readings
from synhead.evaluation.gauges.pixels import PixelGauge
from synhead.evaluation.image_metrics import IDENTICAL_DB
from synhead.evaluation.renderers import copy_source
from synhead.evaluation.report import Figure, SkippedFrame
from synhead.evaluation.scoring import Observers, score_systems
from synhead.evaluation.systems import FolderSystem, RenderedSystem
from tests.evaluation.gauges.test_fan import points_of
from tests.evaluation.gauges.test_fid import Colours

WANTED = ("fid.published", "fid.standard", "psnr", "l1", "ssim", "akd.published", "akd.standard")
PERFECT = RenderedSystem("perfect", "the driving frames", lambda trial: trial.driving)
COPY = RenderedSystem("copy", "", lambda trial: copy_source(trial.source, trial.driving))


@pytest.fixture
def gauges(cpu):
    return (PixelGauge(), FanGauge(points_of), FidGauge(Colours(), cpu))


@pytest.fixture
def trials(make_trial):
    return [make_trial("b", 1, frames=2), make_trial("a", 2, frames=4)]


def figures(row):
    return {name: figure.value for name, figure in row.figures.items()}


def test_the_reference_as_result_is_perfect(trials, gauges):
    (row,), unreadable = score_systems(trials, [PERFECT], gauges, WANTED)
    found = figures(row)
    assert found.pop("fid.published") > 0  # against the source, as published
    assert found == pytest.approx(
        {"fid.standard": 0, "psnr": IDENTICAL_DB, "l1": 0, "ssim": 1, "akd.published": 0, "akd.standard": 0}, abs=1e-9
    )
    assert (row.problems, row.skipped, unreadable) == ((), (), ())
    assert row.figures["l1"].frames == row.figures["fid.standard"].frames == 6


def test_order_of_the_trials_changes_nothing(trials, gauges):
    forward = score_systems(trials, [COPY], gauges, WANTED)
    assert forward == score_systems(trials[::-1], [COPY], gauges, WANTED)
    assert [video.name for video in forward[0][0].videos] == ["a", "b"]


def test_means_are_over_frames(trials, gauges):
    (row,), _ = score_systems(trials, [COPY], gauges, WANTED)
    a, b = row.videos
    assert row.figures["l1"].value == pytest.approx((4 * a.means["l1"] + 2 * b.means["l1"]) / 6)
    assert a.values["l1"][3] == pytest.approx(
        np.abs(trials[1].driving[3] - trials[1].source.astype(float)).mean() / 255
    )
    assert a.frames == (1, 2, 3, 4)


def test_frames_without_a_face_are_named_and_left_out(trials, gauges):
    def half(trial):
        frames = trial.driving.copy()
        frames[0] = 0
        return frames

    (row,), _ = score_systems(trials, [RenderedSystem("half", "", half)], gauges, WANTED)
    both = ("akd.published", "akd.standard")
    assert row.skipped == tuple(SkippedFrame(name, 1, both, "no face in the result") for name in ("a", "b"))
    assert (row.figures["akd.published"].value, row.figures["akd.published"].frames) == (0, 4)
    assert row.figures["psnr"].frames == 6


class Distance(FrameGauge):
    """How much brighter a result is than its driving frame; of black ones it has no value."""

    metrics = ("akd.published",)

    def measure(self, trial, generated):
        pairs = zip(generated, trial.driving, strict=True)
        found = (round(float(frame.mean() - driving.mean()), 3) if frame.any() else None for frame, driving in pairs)
        return Readings(values={"akd.published": tuple(found)})


def brighter(name, errors, *, black=()):
    """A system that is so much off in each frame, and leaves nothing of some."""

    def make(trial):
        frames = trial.driving + np.array(errors, np.uint8)[: len(trial.driving), None, None, None]
        frames[[place for place in black if place < len(frames)]] = 0
        return frames

    return RenderedSystem(name, "", make)


def test_systems_are_compared_on_the_same_frames_too(make_trial):
    """The first frame is hard: whoever destroys the face there wins by the frames of its own."""
    trials = [make_trial("b", 1, frames=2), make_trial("a", 2, frames=4)]
    trials = [replace(trial, driving=trial.driving // 2 + 1) for trial in trials]
    good, bad = brighter("good", (10, 1, 1, 1)), brighter("bad", (0, 2, 2, 2), black=(0,))
    gone = brighter("gone", (0, 0, 0, 0), black=range(4))
    (first, second, third), _ = score_systems(trials, [good, bad, gone], [Distance()], WANTED)
    name = "akd.published"
    assert [row.figures[name] for row in (first, second)] == [Figure(4.0, 6), Figure(2.0, 4)]
    assert [row.common[name] for row in (first, second, third)] == [Figure(1.0, 4), Figure(2.0, 4), Figure(None, 0)]
    (alone,), _ = score_systems(trials, [bad], [Distance()], WANTED)
    assert alone.common == alone.figures


def test_lengths_sizes_and_missing_files_are_told(trials, gauges, tmp_path):
    save_pictures(tmp_path / "a", trials[1].driving[:3])
    results = FolderSystem("rival", tmp_path)
    (row,), _ = score_systems(trials, [results], gauges, WANTED)
    assert row.problems == (
        Skipped("a", "3 frames for 4; the first 3 are compared"),
        Skipped("b", "no result named b"),
    )
    assert (row.figures["l1"].value, row.figures["l1"].frames) == (0, 3)
    save_pictures(tmp_path / "b", trials[0].driving[:, :16])
    (row,), _ = score_systems(trials, [results], gauges, WANTED)
    assert "32x16 instead of 32x32" in row.problems[1].reason


def test_inputs_that_cannot_be_read_are_returned(trials, gauges, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    given = [*reference_trials({"bad": bad}, None, None), *trials]
    rows, unreadable = score_systems(given, [PERFECT, COPY], gauges, WANTED)
    assert [one.name for one in unreadable] == ["bad"]
    assert [len(row.videos) for row in rows] == [2, 2]


def test_without_any_result_there_is_no_figure(trials, gauges, tmp_path):
    (row,), _ = score_systems(trials, [FolderSystem("absent", tmp_path)], gauges, WANTED)
    assert row.figures == {}
    assert len(row.problems) == 2


def test_across_identities_the_source_is_the_measure_of_identity(make_trial):
    class Recorder(FrameGauge):
        metrics = ("aed.published",)

        def measure(self, trial, generated):
            assert not trial.same_identity
            return Readings(values={"aed.published": tuple(0.5 for _ in generated)})

    trial = make_trial(cross=True, frames=3)
    system = RenderedSystem("x", "", lambda one: one.driving[:2])
    (row,), _ = score_systems([trial], [system], [Recorder()], ("aed.published",))
    assert row.figures["aed.published"].frames == 2


def test_observers_hear_of_every_result(trials, gauges):
    heard, seen = [], []
    told = Observers(
        progress=heard.append, result=lambda trial, system, frames: seen.append((trial.name, system.name, len(frames)))
    )
    score_systems(trials, [PERFECT, COPY], gauges, ("l1",), told)
    assert heard == [2, 4, 8, 12]
    assert seen == [("b", "perfect", 2), ("b", "copy", 2), ("a", "perfect", 4), ("a", "copy", 4)]
