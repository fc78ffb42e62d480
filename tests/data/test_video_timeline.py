from fractions import Fraction

import pytest

from synhead.data.prefetch import prefetch
from synhead.data.timeline import Timestamps, common_time_base

NTSC = Fraction(30000, 1001)
MS = Fraction(1, 1000)


def test_milliseconds_are_put_back_on_the_grid():
    stamps = Timestamps(MS, NTSC)
    assert [stamps.stamp(round(i / NTSC, 3)) for i in range(500)] == [i / NTSC for i in range(500)]


def test_times_off_the_grid_stay():
    stamps = Timestamps(MS, NTSC)
    times = [Fraction(0), Fraction(50, 1000), Fraction(83, 1000)]
    assert [stamps.stamp(t) for t in times] == times


def test_fine_timestamps_are_never_moved():
    stamps = Timestamps(Fraction(1, 30000), NTSC)
    times = [Fraction(0), Fraction(1002, 30000), Fraction(2001, 30000)]
    assert [stamps.stamp(t) for t in times] == times


def test_missing_timestamps_follow_at_the_rate():
    stamps = Timestamps(MS, Fraction(25))
    assert [stamps.stamp(t) for t in (None, None, Fraction(1), None)] == [0, Fraction(1, 25), 1, Fraction(26, 25)]


def test_repeated_timestamps_grow_and_do_not_delay_the_rest():
    stamps = Timestamps(Fraction(1, 25), Fraction(25))
    tick = Fraction(1, 25)
    assert [stamps.stamp(t) for t in (0 * tick, tick, tick, 5 * tick)] == [0, tick, 2 * tick, 5 * tick]


def test_a_clock_that_jumps_back_is_carried_on():
    stamps = Timestamps(MS, Fraction(25))
    times = [Fraction(10), Fraction(251, 25), Fraction(0), Fraction(1, 25)]
    assert [stamps.stamp(t) for t in times] == [Fraction(n, 25) for n in (250, 251, 252, 253)]


@pytest.mark.parametrize(
    ("rate", "time_base", "expected"),
    [
        (NTSC, None, Fraction(1001, 30000)),
        (NTSC, MS, Fraction(1, 30000)),
        (NTSC, Fraction(1, 90000), Fraction(1, 90000)),
        (Fraction(25), Fraction(1, 12800), Fraction(1, 12800)),
        (Fraction(999983, 33333), MS, MS),
    ],
)
def test_common_time_base(rate, time_base, expected):
    assert common_time_base(rate, time_base) == expected


def test_prefetch_keeps_order_and_ends():
    assert list(prefetch(range(50), 3)) == list(range(50))


def test_prefetch_is_bounded():
    taken = []
    items = prefetch((taken.append(i) or i for i in range(100)), 4)
    assert next(items) == 0
    items.close()
    assert len(taken) <= 7


def test_prefetch_raises_what_the_source_raises():
    def broken():
        yield 1
        raise OSError("gone")

    items = prefetch(broken(), 4)
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_prefetch_ends_its_thread_before_it_returns():
    state = {"busy": False}

    def source():
        while True:
            state["busy"] = True
            yield 1
            state["busy"] = False

    items = prefetch(source(), 1)
    next(items)
    items.close()
    before = dict(state)
    assert before == state
