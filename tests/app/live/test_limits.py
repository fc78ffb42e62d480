from __future__ import annotations

import pytest

from synhead.app.live.limits import LiveLimits, Pace
from synhead.config import ConfigError


def test_pace_lets_a_rate_pass_and_a_burst_of_a_second() -> None:
    pace = Pace(10.0)
    assert [pace.allows(100.0) for _ in range(11)] == [True] * 10 + [False]
    assert pace.allows(100.11)
    assert not pace.allows(100.12)
    passed = sum(pace.allows(200.0 + i / 50) for i in range(500))
    assert passed == pytest.approx(10 * 10 + 10, abs=1)


def test_limits_are_positive() -> None:
    with pytest.raises(ConfigError, match="positive"):
        LiveLimits(sessions=0)
    assert LiveLimits(portrait_bytes=10, frame_bytes=20).message_bytes > 20
