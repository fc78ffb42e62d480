"""Read ahead on a thread, so that decoding overlaps the model's work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class _Item(Generic[ItemT]):
    value: ItemT


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


def prefetch(items: Iterable[ItemT], depth: int) -> Generator[ItemT, None, None]:
    """The same items in order, taken from ``items`` by a thread that is at most ``depth`` of them ahead.

    An exception of ``items`` is raised here. When the consumer stops (close, error or Ctrl-C) the thread ends before
    control returns, so that what ``items`` reads from may be closed.
    """
    buffer: queue.Queue[_Item[ItemT] | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, buffer, stopped), name="synhead-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            entry = buffer.get()
            if isinstance(entry, _Item):
                yield entry.value
            elif entry.error is not None:
                raise entry.error
            else:
                return
    finally:
        stopped.set()
        thread.join()


def _fill(items: Iterable[ItemT], buffer: queue.Queue[_Item[ItemT] | _End], stopped: threading.Event) -> None:
    def put(entry: _Item[ItemT] | _End) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                buffer.put(entry, timeout=POLL_S)
                return

    try:
        for item in items:
            put(_Item(item))
            if stopped.is_set():
                return
    except BaseException as error:
        put(_End(error))
    else:
        put(_End())
