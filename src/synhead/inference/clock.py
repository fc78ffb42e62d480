"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

__all__ = ["Clock", "Stage"]

Stage = Literal["decode", "faces", "model", "paste", "encode", "waiting"]


class Clock:
    """Seconds spent in each stage by one thread. A stage within another is not counted for the outer one too.

    ``check``: called whenever a stage begins, at least once a frame; what it raises ends the run.
    """

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self.check = check
        self.seconds: defaultdict[Stage, float] = defaultdict(float)
        self._inner: list[float] = []

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """The block belongs to this stage."""
        self.check()
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            passed = time.perf_counter() - start
            self.seconds[name] += passed - self._inner.pop()
            if self._inner:
                self._inner[-1] += passed
