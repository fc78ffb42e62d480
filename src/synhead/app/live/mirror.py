"""A camera drives the portrait, and the newest picture is shown: live mode without a browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from synhead.app.live.cameras import Display
from synhead.app.live.latest import Relay
from synhead.app.live.session import Drawn, LiveSession
from synhead.data.image import RgbImage

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class _Taken:
    picture: RgbImage
    at: float


@dataclass(slots=True)
class Figures:
    """``latencies``: seconds from a picture of the camera to the portrait shown. ``dropped``: pictures not shown."""

    seconds: float = 0.0
    dropped: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For people."""
        if not self.latencies:
            return "no picture was shown"
        rate = len(self.latencies) / max(self.seconds, 1e-9)
        latency = 1000 * median(self.latencies)
        return f"{len(self.latencies)} pictures, {rate:.1f} a second, latency {latency:.0f} ms, {self.dropped} dropped"


def run_mirror(
    session: LiveSession,
    frames: Iterator[RgbImage],
    display: Display,
    *,
    seconds: float | None,
    told: Callable[[Figures], None],
) -> Figures:
    """Until the camera ends, or ``seconds`` have passed. ``told`` gets the figures of every second.

    A thread reads the camera and another draws, so that the camera's own buffer never fills with old pictures. Raises
    what either of them raises.
    """
    begin = time.perf_counter()
    relay: Relay[_Taken, tuple[_Taken, Drawn]] = Relay(
        lambda taken: (taken, session.draw(taken.picture, taken.at)), told=lambda: None
    )
    reader = _Reader(frames, relay)
    whole, last = Figures(), Figures()
    try:
        while (seconds is None or time.perf_counter() - begin < seconds) and not reader.ended:
            reply = relay.take(_POLL_S)
            if reply is not None:
                display.send(reply[1].picture)
                last.latencies.append(time.perf_counter() - reply[0].at)
            passed = time.perf_counter() - begin
            if passed - whole.seconds >= 1:
                last.seconds, last.dropped = passed - whole.seconds, relay.dropped - whole.dropped
                told(last)
                whole.seconds, whole.dropped = passed, relay.dropped
                whole.latencies += last.latencies
                last = Figures()
    finally:
        reader.close()
        relay.close()
    reader.check()
    whole.latencies += last.latencies
    whole.seconds, whole.dropped = time.perf_counter() - begin, relay.dropped
    return whole


class _Reader:
    """The thread that reads the camera."""

    def __init__(self, frames: Iterator[RgbImage], relay: Relay[_Taken, tuple[_Taken, Drawn]]) -> None:
        self._frames, self._relay = frames, relay
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self.ended = False
        self._thread = threading.Thread(target=self._run, name="synhead-camera", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends with the next picture."""
        self._stopped.set()
        self._thread.join(timeout=2)  # a camera that has hung must not hang the program

    def check(self) -> None:
        """Raises what ended it, if it was no end."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for picture in self._frames:
                if self._stopped.is_set():
                    return
                self._relay.offer(_Taken(picture, time.perf_counter()))
        except BaseException as error:  # handed over to the thread that shows pictures
            self._error = error
        finally:
            self.ended = True
