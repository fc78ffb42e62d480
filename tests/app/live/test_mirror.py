from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from synhead.app.live.mirror import Figures, run_mirror
from synhead.app.live.session import LiveOptions, LiveSession
from synhead.inference.animator import Animator
from tests.app.live.conftest import SIZE, driver
from tests.faces.pictures import RedDetector
from tests.inference.conftest import blobs


class Screen:
    """``seconds``: what it takes to show a picture."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.shown = seconds, []

    def send(self, picture: np.ndarray) -> None:
        time.sleep(self.seconds)
        self.shown.append(picture)


@pytest.fixture
def session(animator: Animator) -> LiveSession:
    return LiveSession(animator, blobs(0, SIZE), LiveOptions(crop="center"), RedDetector())


def camera(count: int, pause_s: float) -> Iterator[np.ndarray]:
    for number in range(count):
        time.sleep(pause_s)
        yield driver(number % 9)


def test_a_camera_is_shown_until_it_ends(session: LiveSession) -> None:
    screen, told = Screen(), []
    figures = run_mirror(session, camera(60, 0.02), screen, seconds=None, told=told.append)
    assert len(screen.shown) == len(figures.latencies) > 30
    assert screen.shown[0].shape == (SIZE, SIZE, 3)
    assert 1.0 < figures.seconds < 10
    assert told, "once a second"
    assert f"{len(screen.shown)} pictures" in figures.line


def test_a_slow_screen_drops_pictures_and_does_not_fall_behind(session: LiveSession) -> None:
    screen = Screen(0.15)
    figures = run_mirror(session, camera(1000, 0.005), screen, seconds=1.0, told=lambda _: None)
    assert len(screen.shown) < 12
    assert figures.dropped > 50
    assert max(figures.latencies) < 0.6


def test_failures_of_camera_and_model_come_out(session: LiveSession, animator: Animator, monkeypatch) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield driver()
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        run_mirror(session, broken(), Screen(), seconds=None, told=lambda _: None)
    monkeypatch.setattr(animator.engine, "render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_mirror(session, camera(1000, 0.01), Screen(), seconds=5.0, told=lambda _: None)


def test_figures_are_told_in_a_line() -> None:
    assert Figures().line == "no picture was shown"
    line = Figures(seconds=2.0, dropped=7, latencies=[0.1, 0.2, 0.3, 0.2]).line
    assert line == "4 pictures, 2.0 a second, latency 200 ms, 7 dropped"
