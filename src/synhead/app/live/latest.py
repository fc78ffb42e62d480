"""The newest wins: places for one item in which a newer one replaces what waits, so that nothing ever queues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
FrameT = TypeVar("FrameT")
ReplyT = TypeVar("ReplyT")


class Latest(Generic[ItemT]):
    """A place for one item, shared by threads. ``replaced`` counts items that nobody took."""

    def __init__(self) -> None:
        self.replaced = 0
        self._items: list[ItemT] = []
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: ItemT) -> None:
        """Replaces what waits. Once closed, nothing is kept."""
        with self._changed:
            if not self._closed:
                self.replaced += len(self._items)
                self._items = [item]
                self._changed.notify()

    def poll(self) -> ItemT | None:
        """What waits, or None."""
        with self._changed:
            return self._items.pop() if self._items else None

    def take(self, timeout: float | None = None) -> ItemT | None:
        """Waits for an item; None if there is none in time, or once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            return self._items.pop() if self._items else None

    def close(self) -> None:
        """Whoever waits goes on without an item."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


class Relay(Generic[FrameT, ReplyT]):
    """A thread that answers the newest frame: at most one frame waits before it, and one reply behind it.

    ``told`` is called by that thread whenever a reply waits, or the thread has ended. An exception of ``answer`` ends
    it, and is raised where replies are taken.
    """

    def __init__(self, answer: Callable[[FrameT], ReplyT], told: Callable[[], None]) -> None:
        self._answer, self._told = answer, told
        self._frames: Latest[FrameT] = Latest()
        self._replies: Latest[ReplyT] = Latest()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="synhead-live", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that were replaced before they were looked at, and replies before they were taken."""
        return self._frames.replaced + self._replies.replaced

    def offer(self, frame: FrameT) -> None:
        """The newest frame; never waits."""
        self._frames.put(frame)

    def poll(self) -> ReplyT | None:
        """The newest reply, if one waits."""
        self._raise()
        return self._replies.poll()

    def take(self, timeout: float | None = None) -> ReplyT | None:
        """Waits for a reply; None if there is none in time, or once closed."""
        reply = self._replies.take(timeout)
        self._raise()
        return reply

    def close(self) -> None:
        """Ends the thread when it is done with the frame that it has."""
        self._frames.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while (frame := self._frames.take()) is not None:
                self._replies.put(self._answer(frame))
                self._told()
        except BaseException as error:  # handed over to whoever takes replies
            self._error = error
        finally:
            self._frames.close()
            self._replies.close()
            self._told()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
