"""Progress in the terminal: of a video (frames, frames a second, time left), a batch (jobs), a preparation (clips)."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from synhead.app.console import remark, remarks, results

if TYPE_CHECKING:
    from synhead.training.preparation import PrepareProgress

Self = TypeVar("Self", bound="_Bars")

MAX_BARS = 8
"""Of jobs made at the same time."""


class _Rate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        """The rate of the last moments, or of the whole when finished."""
        speed = task.finished_speed or task.speed
        return Text("- fps" if speed is None else f"{speed:.1f} fps", style="progress.data.speed")


class _Bars:
    """A context manager: a bar a task, with ``columns`` behind it; silent where standard error is no terminal."""

    def __init__(self, *columns: ProgressColumn, redirect_stdout: bool = True) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            *columns,
            console=remarks(),
            disable=not remarks().is_terminal,
            redirect_stdout=redirect_stdout,
        )

    def __enter__(self: Self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class FrameProgress(_Bars):
    """Its :meth:`update` and :meth:`look` fit ``animate_video``."""

    def __init__(self, label: str) -> None:
        super().__init__(TextColumn("frames"), _Rate(), TextColumn("ETA"), TimeRemainingColumn())
        self._label = self._shown = label
        self._task = self._progress.add_task(label, total=None)

    def update(self, done: int, total: int | None) -> None:
        """``done`` frames of ``total`` (None: unknown) are written."""
        self._show(self._label, done, total)

    def look(self, what: str, done: int, total: int | None) -> None:
        """``what`` is being found, in ``done`` frames of ``total`` (None: unknown) so far."""
        self._show(f"finding {what}", done, total)

    def _show(self, label: str, done: int, total: int | None) -> None:
        if label != self._shown:
            self._progress.remove_task(self._task)  # a new one, since a known total cannot become unknown
            self._task = self._progress.add_task(label, total=total)
            self._shown = label
        self._progress.update(self._task, completed=done, total=total)


class BatchProgress(_Bars):
    """A bar for the jobs, and below it one for the frames of each that is being made, as far as there is room."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.fields[unit]}  ETA"),
            TimeRemainingColumn(),
            redirect_stdout=results().is_terminal,  # or results on their way to a file would come out here
        )
        self._jobs = self._progress.add_task("batch", total=None, unit="jobs")
        self._running: dict[str, TaskID] = {}

    def jobs(self, ended: int, total: int) -> None:
        """``ended`` jobs of ``total`` are done or have failed."""
        self._progress.update(self._jobs, completed=ended, total=total)

    def begin(self, mark: str, name: str) -> None:
        """The job of that name is being made, in the attempt of that mark."""
        if len(self._running) < MAX_BARS:
            self._running[mark] = self._progress.add_task(name, total=None, unit="frames")

    def end(self, mark: str) -> None:
        """It is no longer made."""
        if mark in self._running:
            self._progress.remove_task(self._running.pop(mark))

    def frames(self, mark: str, done: int, total: int | None) -> None:
        """``done`` frames of ``total`` (None: unknown) are written."""
        if mark in self._running:
            self._progress.update(self._running[mark], completed=done, total=total)


class ClipProgress(_Bars):
    """Its :meth:`update` fits ``prepare_clips``: a bar on a terminal, a line a video elsewhere."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("videos  {task.fields[found]}  ETA"), TimeRemainingColumn(elapsed_when_finished=True)
        )
        self._task = self._progress.add_task("preparing", total=None, found="")

    def update(self, now: PrepareProgress) -> None:
        """An input is finished."""
        found = f"{now.clips} clips, {now.rejected} left out"
        if self._progress.disable:
            remark(f"{now.done}/{now.total} {now.source}: so far {found}")
        self._progress.update(self._task, completed=now.done, total=now.total, found=found)
