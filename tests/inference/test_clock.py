import time

import pytest

from synhead.inference.clock import Clock


def test_a_stage_within_another_is_counted_once():
    clock = Clock()
    with clock.stage("encode"):
        time.sleep(0.03)
        with clock.stage("model"):
            time.sleep(0.06)
            with clock.stage("decode"):
                time.sleep(0.03)
    assert clock.seconds["decode"] == pytest.approx(0.03, abs=0.02)
    assert clock.seconds["model"] == pytest.approx(0.06, abs=0.02)
    assert clock.seconds["encode"] == pytest.approx(0.03, abs=0.02)


def test_an_error_ends_the_stage():
    clock = Clock()
    with pytest.raises(ValueError, match="x"), clock.stage("model"):
        raise ValueError("x")
    with clock.stage("encode"):
        pass
    assert clock.seconds["encode"] < 0.01


def test_a_check_ends_the_run_where_a_stage_begins():
    calls = iter([None, KeyboardInterrupt])

    def check() -> None:
        if (stop := next(calls)) is not None:
            raise stop

    clock = Clock(check)
    with clock.stage("faces"), pytest.raises(KeyboardInterrupt), clock.stage("decode"):
        raise AssertionError


def test_passes_are_told_to_whoever_wants_to_know():
    told: list[tuple[str, int, int | None]] = []
    Clock(looking=lambda *each: told.append(each)).looked("faces in a.mp4", 1, None)
    Clock().looked("faces in a.mp4", 1, None)
    assert told == [("faces in a.mp4", 1, None)]
