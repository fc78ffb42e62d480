import pytest
from jaxtyping import TypeCheckError

from synhead.config import ConfigError
from synhead.inference.motion_edits import MAX_MULTIPLIER, MotionEdits


@pytest.mark.parametrize(
    "options",
    [{"multiplier": -0.1}, {"multiplier": MAX_MULTIPLIER + 1}, {"multiplier": float("nan")}, {"parts": "ear"}],
)
def test_bad_options(options):
    with pytest.raises((ConfigError, TypeCheckError)):
        MotionEdits(**options)


def test_what_needs_a_reference():
    assert not MotionEdits().need_reference
    assert MotionEdits(multiplier=0.5).need_reference
    assert MotionEdits(parts="head").need_reference
