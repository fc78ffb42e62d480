"""What runs jobs in another process or on another machine: it loads a runner, makes outputs, and answers for both."""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from synhead.config.version import version
from synhead.inference.animator import AnimatorOptions
from synhead.inference.batch.run import Runner
from synhead.inference.batch.shared_view import View, unseen
from synhead.inference.batch.staging import Seal, seal
from synhead.inference.job import AnimationJob
from synhead.inference.report import AnimationReport

MakeRunner = Callable[[], Runner]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a worker is once it has loaded. ``blind``: of its View, what it does not see."""

    host: str
    process: int
    version: str
    made_by: str
    blind: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.host}, process {self.process}"


@dataclass(frozen=True, slots=True)
class Written:
    """An attempt came to its end: its report, and what its output is where it was written."""

    report: AnimationReport
    whole: Seal | None


@dataclass(frozen=True, slots=True)
class Broken:
    """An attempt raised an error that can travel, and where it arose in words."""

    error: Exception
    trace: str

    def raised(self) -> Exception:
        """The error; its cause shows where it arose."""
        self.error.__cause__ = RemoteTraceback(self.trace)
        return self.error


class RemoteTraceback(Exception):  # noqa: N818 (no error of its own: the cause of one)
    """A traceback of another process, to be shown above that of this one."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Stopped(BaseException):
    """The attempt is to end; no error of the job."""


class Worker:
    """One model for all jobs it is given, one at a time; :meth:`frames` and :meth:`stop` may be called meanwhile.

    ``make``: of what runs the jobs. ``environment``: variables that hold where the queue is.
    """

    def __init__(self, make: MakeRunner, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        self._make = make
        self._runner: Runner | None = None
        self._frames: tuple[int, int | None] = (0, None)
        self._stopping = False

    def load(self, view: View) -> Identity:
        """Load the model and look around; once, before the first job."""
        self._runner = self._make()
        return Identity(
            host=socket.gethostname(),
            process=os.getpid(),
            version=version(),
            made_by=self._runner.made_by,
            blind=unseen(view),
        )

    def run(self, job: AnimationJob, options: AnimatorOptions) -> Written | Broken | None:
        """Write ``job.output``; None if it was stopped."""
        self._frames = (0, None)
        if self._runner is None:
            raise RuntimeError("a worker loads before it runs")
        try:
            report = self._runner.run(job, options, self._progress)
            return Written(report, seal(job.output))
        except _Stopped:
            return None
        except Exception as error:
            return Broken(_portable(error), traceback.format_exc())

    def frames(self) -> tuple[int, int | None]:
        """Frames of the current job that are written, and their expected total."""
        return self._frames

    def stop(self) -> None:
        """End the current job at its next frame; its writer clears away what it wrote."""
        self._stopping = True

    def _progress(self, done: int, total: int | None) -> None:
        self._frames = (done, total)
        if self._stopping:
            raise _Stopped


def _portable(error: Exception) -> Exception:
    """``error``, or its words if it cannot travel."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    return copy if type(copy) is type(error) else RuntimeError(f"{type(error).__name__}: {error}")
