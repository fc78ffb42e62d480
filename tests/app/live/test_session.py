from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from synhead.app.live.errors import LiveError
from synhead.app.live.session import LiveOptions, LiveSession, open_session
from synhead.config import ConfigError
from synhead.inference.animator import Animator
from tests.app.live.conftest import SIZE, driver, empty
from tests.faces.pictures import RedDetector
from tests.inference.conftest import blobs

PLAIN = LiveOptions(crop="center", label="")


def session(animator: Animator, options: LiveOptions = PLAIN, **given) -> LiveSession:
    return LiveSession(animator, blobs(0, SIZE), options, RedDetector(), **given)


def shift(picture: np.ndarray, still: np.ndarray) -> int:
    """By how many pixels the middle of ``picture`` lies further to the right than in ``still``."""
    inner = slice(16, -16)
    errors = {
        by: np.abs(np.roll(picture.astype(int), -by, axis=1)[inner, inner] - still[inner, inner]).mean()
        for by in range(-12, 13)
    }
    return min(errors, key=errors.__getitem__)


def test_the_first_face_is_the_portraits_own_pose(animator: Animator) -> None:
    live = session(animator)
    drawn = live.draw(driver(), 0.0)
    assert drawn.face
    assert np.abs(drawn.picture.astype(int) - blobs(0, SIZE)).max() <= 1
    moved = live.draw(driver(8), 0.1).picture
    assert np.abs(moved.astype(int) - drawn.picture).max() > 5


def test_recentre_makes_the_next_pose_the_portraits_own(animator: Animator) -> None:
    live = session(animator)
    live.draw(driver(), 0.0)
    moved = live.draw(driver(8), 0.1).picture
    live.recentre()
    anew = live.draw(driver(8), 0.2).picture
    assert np.abs(anew.astype(int) - blobs(0, SIZE)).max() <= 1
    assert np.abs(moved.astype(int) - anew).max() > 5
    back = live.draw(driver(), 0.3).picture
    assert shift(back, anew) == -shift(moved, anew) != 0


def test_recentre_waits_for_a_face(animator: Animator) -> None:
    live = session(animator)
    live.draw(driver(), 0.0)
    live.recentre()
    assert not live.draw(empty(), 0.1).face
    assert np.abs(live.draw(driver(8), 0.2).picture.astype(int) - blobs(0, SIZE)).max() <= 1


def test_pictures_without_a_face_hold_the_last(animator: Animator) -> None:
    live = session(animator)
    before = live.draw(empty(), 0.0)
    assert not before.face
    assert np.array_equal(before.picture, blobs(0, SIZE)), "at the start the portrait itself"
    live.draw(driver(), 0.1)
    last = live.draw(driver(8), 0.2)
    for number in range(3, 9):
        drawn = live.draw(empty(), number / 10)
    assert not drawn.face
    assert drawn.picture is last.picture
    assert drawn.seconds.draw == 0
    assert live.draw(driver(8), 1.0).face


def test_times_of_the_stages_are_told(animator: Animator) -> None:
    seconds = session(animator).draw(driver(), 0.0).seconds
    assert min(seconds.faces, seconds.keypoints, seconds.draw) > 0
    assert seconds.turn >= 0


def test_the_label_is_there_unless_it_is_taken_away(animator: Animator) -> None:
    labelled = session(animator, LiveOptions(crop="center")).draw(driver(), 0.0).picture
    corner = (slice(-16, None), slice(0, 16))
    assert np.abs(labelled[corner].astype(int) - blobs(0, SIZE)[corner]).max() > 30
    assert np.abs(labelled[:32].astype(int) - blobs(0, SIZE)[:32]).max() <= 1
    with ExitStack() as stack, pytest.raises(LiveError, match="too long") as caught:
        open_session(animator, blobs(0, SIZE), LiveOptions(crop="center", label="much too long " * 3), stack)
    assert caught.value.code == "bad_options"


def test_options_change_the_motion(animator: Animator) -> None:
    def moved(**options: object) -> int:
        live = session(animator, LiveOptions(crop="center", label="", **options))
        still = live.draw(driver(), 0.0).picture
        return abs(shift(live.draw(driver(8), 0.1).picture, still))

    assert moved(multiplier=0.0) == 0 < moved() < moved(multiplier=2.0)
    assert moved(smooth=3.0) < moved()
    with pytest.raises(ConfigError):
        LiveOptions(multiplier=9.0)


def test_a_portrait_without_a_face_is_refused_unless_its_middle_is_wanted(animator: Animator) -> None:
    with ExitStack() as stack:
        with pytest.raises(LiveError, match="take its middle") as caught:
            open_session(animator, blobs(0, SIZE), LiveOptions(), stack)
        assert caught.value.code == "no_face"
        assert open_session(animator, blobs(0, SIZE), PLAIN, stack).finds_faces


def test_without_a_detector_the_middle_drives(animator: Animator) -> None:
    live = LiveSession(animator, blobs(0, SIZE), PLAIN, None)
    assert not live.finds_faces
    assert live.draw(empty(), 0.0).face


def test_sessions_share_an_animator_and_do_not_mix(animator: Animator) -> None:
    one, other = session(animator), LiveSession(animator, blobs(1, SIZE), PLAIN, RedDetector())
    first = [one.draw(driver(), 0.0).picture, other.draw(driver(), 0.0).picture]
    assert np.abs(first[0].astype(int) - blobs(0, SIZE)).max() <= 1
    assert np.abs(first[1].astype(int) - blobs(1, SIZE)).max() <= 1
