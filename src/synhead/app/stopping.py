"""Termination and a closed terminal end a command as Ctrl-C does: by an exception, so that everything is cleaned up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT

_SAME_S = 5.0
"""Seconds in which further signals mean the stop that has begun: a closed terminal sends several at once."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came. ``number``: which of them."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + stop.number if isinstance(stop, Terminated) else EXIT_INTERRUPTED


def interruption_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interruption during whose clean-up ``error`` was raised, if there was one."""
    seen = error.__context__
    while seen is not None and not isinstance(seen, KeyboardInterrupt):
        seen = seen.__context__
    return seen


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM, and SIGHUP where there is one, raise :class:`Terminated` in the main thread.

    A signal that is ignored stays so (nohup), as does one for which the program around has arranged something.
    """
    own, last = os.getpid(), -_SAME_S

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal last
        del frame
        if os.getpid() != own:  # a forked worker inherits this, but has nothing of the command's to clean up
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if now - last < _SAME_S:
            return
        last = now
        raise Terminated(number)

    if threading.current_thread() is not threading.main_thread():  # signals can only be arranged there
        yield
        return
    kinds = [kind for name in ("SIGTERM", "SIGHUP") if (kind := getattr(signal, name, None)) is not None]
    arranged = [kind for kind in kinds if signal.getsignal(kind) is signal.SIG_DFL]
    for kind in arranged:
        signal.signal(kind, on_signal)
    try:
        yield
    finally:
        for kind in arranged:
            signal.signal(kind, signal.SIG_DFL)
