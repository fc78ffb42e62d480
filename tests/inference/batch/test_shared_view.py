"""Probes: seen where files are shared, told where they are not, gone afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from synhead.inference.batch.shared_view import probed, unseen
from synhead.inference.job import AnimationJob


@pytest.fixture
def job(tmp_path: Path) -> AnimationJob:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return AnimationJob(
        source=tmp_path / "in" / "a.jpg", driving=tmp_path / "in" / "b.mp4", output=tmp_path / "out/c.mp4"
    )


def test_seen_and_gone_afterwards(job: AnimationJob, tmp_path: Path) -> None:
    with probed([job, replace(job, output=tmp_path / "out" / "d.mp4")], tmp_path / "j") as view:
        assert unseen(view) == ()
        assert len(list((tmp_path / "out").iterdir())) == 1
    assert not list((tmp_path / "out").iterdir())


def test_another_file_system_at_the_same_path(job: AnimationJob, tmp_path: Path) -> None:
    with probed([job], tmp_path / "j") as view:
        (probe,) = view.probes
        probe.unlink()
        assert unseen(view) == (tmp_path / "out",)
        probe.write_text("that of another run")
        assert unseen(view) == (tmp_path / "out",)
        (tmp_path / "in").rmdir()
        assert unseen(view) == (tmp_path / "out", tmp_path / "in")


def test_what_a_kill_left_is_taken_by_the_next_run(job: AnimationJob, tmp_path: Path) -> None:
    with probed([job], tmp_path / "j") as view:
        (probe,) = view.probes
    probe.write_text("left behind")
    with probed([job], tmp_path / "j") as view:
        assert unseen(view) == ()
    assert not list((tmp_path / "out").iterdir())


def test_folders_that_are_missing_are_the_jobs_trouble(job: AnimationJob, tmp_path: Path) -> None:
    with probed([replace(job, output=tmp_path / "none" / "c.mp4")], tmp_path / "j") as view:
        assert not view.probes
