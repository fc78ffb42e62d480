"""mediapipe's C++ parts log to file descriptor 2 whatever Python says; this keeps them quiet."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


def silence_by_environment() -> None:
    """Ask glog and TensorFlow Lite for errors only; to be called before they are loaded. What is set stays."""
    for name, level in (("GLOG_minloglevel", "2"), ("TF_CPP_MIN_LOG_LEVEL", "2")):
        os.environ.setdefault(name, level)


@contextmanager
def silenced() -> Iterator[None]:
    """Within the block, everything written to the process's standard error is dropped, also by C++ threads.

    Python's own ``sys.stderr`` shares that descriptor: keep the block short. Exceptions pass as usual.
    """
    try:
        sys.stderr.flush()
        descriptor = 2
        kept = os.dup(descriptor)
    except (OSError, ValueError, AttributeError):  # no standard error at all: nothing to silence
        yield
        return
    with _LOCK:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, descriptor)
            yield
        finally:
            os.dup2(kept, descriptor)
            os.close(nowhere)
            os.close(kept)
