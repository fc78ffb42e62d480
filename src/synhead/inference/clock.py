"""Where the time of a run goes, and how far it is before the first frame is written."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Stage = Literal["decode", "faces", "model", "paste", "encode", "waiting"]

Looking = Callable[[str, int, int | None], None]
"""Is told what is being found, and in how many frames so far of how many (None: unknown)."""


class Clock:
    """Seconds spent in each stage by one thread. A stage within another is not counted for the outer one too.

    ``check``: called whenever a stage begins, at least once a frame; what it raises ends the run. ``looking``: told of
    passes over a video in which nothing is written.
    """

    def __init__(self, check: Callable[[], None] = lambda: None, *, looking: Looking | None = None) -> None:
        self.check, self._looking = check, looking
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

    def looked(self, what: str, done: int, total: int | None) -> None:
        """One more frame was looked at, or passed over; see Looking."""
        if self._looking is not None:
            self._looking(what, done, total)
