"""Bars: what they say when the work changes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from synhead.app import progress as bars
from synhead.app.progress import MAX_BARS, BatchProgress, FrameProgress


def test_looking_then_writing() -> None:
    progress = FrameProgress("out.mp4")

    def shown() -> tuple[str, float, float | None]:
        (task,) = progress._progress.tasks
        return task.description, task.completed, task.total

    progress.look("faces in a.mp4", 3, 9)
    assert shown() == ("finding faces in a.mp4", 3, 9)
    progress.look("the best frame in a.mp4", 1, None)
    assert shown() == ("finding the best frame in a.mp4", 1, None)
    progress.update(2, 9)
    assert shown() == ("out.mp4", 2, 9)


def test_a_bar_a_job_as_far_as_there_is_room() -> None:
    progress = BatchProgress()
    for number in range(MAX_BARS + 2):
        progress.begin(f"mark {number}", f"job {number}")
        progress.frames(f"mark {number}", number, 20)
    shown = {task.description: task.completed for task in progress._progress.tasks}
    assert shown == {"batch": 0, **{f"job {number}": number for number in range(MAX_BARS)}}
    progress.end("mark 3")
    progress.end(f"mark {MAX_BARS + 1}")
    progress.begin("later", "another")
    names = [task.description for task in progress._progress.tasks]
    assert ("job 3" in names, "another" in names, len(names)) == (False, True, MAX_BARS + 1)


@pytest.mark.parametrize("kind", ["frames", "batch"])
def test_names_are_shown_as_they_are(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as what rich would make of them."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(bars, "remarks", lambda: terminal)
    name = "my :smile: [red] take.mp4"
    if kind == "frames":
        with FrameProgress(name) as progress:
            progress.update(1, 2)
    else:
        with BatchProgress() as batch:
            batch.begin("mark", name)
    assert name in terminal.file.getvalue()
