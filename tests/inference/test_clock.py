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


def test_the_check_is_asked_as_a_stage_begins_and_ends_the_run():
    asked = []

    def check() -> None:
        asked.append(len(asked))
        if len(asked) == 2:
            raise InterruptedError

    clock = Clock(check)
    with clock.stage("encode"), pytest.raises(InterruptedError), clock.stage("model"):
        raise AssertionError("a stage that was stopped has begun")
    assert asked == [0, 1]
    assert clock.seconds.keys() == {"encode"}
