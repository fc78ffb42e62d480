from __future__ import annotations

from pathlib import Path

import pytest

from synhead.app.web.schemas import JobOptions
from synhead.app.web.work import Run, Task
from synhead.inference import footage
from tests.app.conftest import FRAMES


class StopError(Exception):
    """The check of a test."""


def no_progress(done: int, total: int | None) -> None:
    """Nobody is told."""


def run_until(run: Run, task: Task, stop: int | None):
    """How often the check was asked, and the report; at the check of number ``stop`` it raises."""
    footage._remembered.clear()  # or faces would be looked for once only
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == stop:
            raise StopError

    report = run(task, no_progress, check)
    return asked, report


@pytest.mark.parametrize("looks", ["auto", "center"])
def test_stopped_at_any_check_nothing_is_left(run_tiny: Run, media: Path, tmp_path: Path, looks: str) -> None:
    options = JobOptions(crop="center", driving_crop=looks, side_by_side=True)
    task = options.task(media / "portrait.jpg", media / "driving.mp4", tmp_path, 1)
    every, report = run_until(run_tiny, task, None)
    assert report.frames == FRAMES
    assert {path.name for path in tmp_path.iterdir()} == {"result.mp4", "side-by-side.mp4"}
    assert every >= (4 if looks == "auto" else 3) * FRAMES
    for path in task.outputs:
        path.unlink()
    for stop in range(1, every + 1, 7):
        with pytest.raises(StopError):
            run_until(run_tiny, task, stop)
        assert {path.name for path in tmp_path.iterdir()} <= {"result.mp4"}  # whole: only the row was not finished
        (tmp_path / "result.mp4").unlink(missing_ok=True)
