"""What a job of the server is: an animation, how its motion is transferred, and a second video beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from synhead.app.web.beside import write_beside
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.clock import Clock
from synhead.inference.job import AnimationJob
from synhead.inference.pipeline import Progress, animate_video
from synhead.inference.report import AnimationReport
from synhead.provenance.statement import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """``beside``: where portrait, driver and result are shown in a row too, None for not at all."""

    job: AnimationJob
    motion: AnimatorOptions
    beside: Path | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All that is needed of its files when the task has ended."""
        return (self.job.output,) if self.beside is None else (self.job.output, self.beside)


Run = Callable[[Task, Progress, Callable[[], None]], AnimationReport]
"""Does a task; is told whom to tell of frames, and what to call often: it raises to stop the work."""


def runner(animator: Animator, statement: Statement) -> Run:
    """One model for all tasks, one task at a time."""

    def run(task: Task, progress: Progress, check: Callable[[], None]) -> AnimationReport:
        own = Animator(animator.model, task.motion, engine=animator.engine)
        report = animate_video(own, task.job, progress, statement=statement, clock=Clock(check))
        if task.beside is not None:
            shown = replace(statement, source_type="composite")
            write_beside(task.job, report, task.beside, statement=shown, check=check)
        return report

    return run
