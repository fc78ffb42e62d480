from __future__ import annotations

import threading

import pytest

from synhead.app.live.latest import Latest, Relay


class Held:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.let, self.begun, self.answered = threading.Semaphore(0), threading.Semaphore(0), []

    def __call__(self, frame: int) -> int:
        self.begun.release()
        assert self.let.acquire(timeout=10)
        self.answered.append(frame)
        return frame


def test_what_comes_replaces_what_waits() -> None:
    place: Latest[int] = Latest()
    assert place.poll() is None
    for number in range(5):
        place.put(number)
    assert place.replaced == 4
    assert place.take(0.0) == 4
    assert place.take(0.01) is None
    place.put(5)
    place.close()
    place.put(6)
    assert place.take() is None


def test_a_slow_model_gets_the_newest_frame_and_one_only() -> None:
    held = Held()
    relay = Relay(held, told=lambda: None)
    relay.offer(0)
    assert held.begun.acquire(timeout=10)
    for number in range(1, 1000):
        relay.offer(number)
    held.let.release(2)
    assert held.begun.acquire(timeout=10)
    relay.close()
    assert held.answered == [0, 999]
    assert relay.dropped >= 998


def test_a_slow_reader_gets_the_newest_reply() -> None:
    told = threading.Semaphore(0)
    relay = Relay(lambda frame: frame, told=told.release)
    for number in range(50):
        relay.offer(number)
        assert told.acquire(timeout=10)
    assert relay.take(10.0) == 49
    assert relay.poll() is None
    assert relay.dropped == 49
    relay.close()


def test_a_failure_reaches_whoever_takes_replies() -> None:
    told = threading.Event()

    def fail(frame: int) -> int:
        raise RuntimeError(f"frame {frame}")

    relay = Relay(fail, told=told.set)
    relay.offer(7)
    assert told.wait(10)
    relay.close()
    with pytest.raises(RuntimeError, match="frame 7"):
        relay.poll()
    with pytest.raises(RuntimeError, match="frame 7"):
        relay.take(0.0)


def test_closing_waits_for_the_frame_that_is_drawn_and_forgets_the_next() -> None:
    held = Held()
    relay = Relay(held, told=lambda: None)
    relay.offer(0)
    assert held.begun.acquire(timeout=10)
    relay.offer(1)
    closing = threading.Thread(target=relay.close)
    closing.start()
    while not relay._frames._closed:
        pass
    held.let.release()
    closing.join(10)
    assert not closing.is_alive()
    assert held.answered == [0]
