from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from synhead.data.errors import MediaError
from synhead.data.video import VideoReader, read_frames
from synhead.faces.framing import Framing
from synhead.inference.clock import Clock
from synhead.inference.footage import LOOK_EVERY, Shape, find_faces, framed_footage
from tests.data.video_factory import write_clip
from tests.faces.pictures import RedDetector, painted

SIZE = (320, 240)


@pytest.fixture
def clip(tmp_path):
    pictures = [painted(*SIZE, (100 + i, 80, 160 + i, 155)) for i in range(12)]
    return write_clip(tmp_path / "d.mp4", 12, size=SIZE, pictures=pictures)


def opened(clip, framing, stack, *, whole=False, detector=None):
    return framed_footage(clip, framing, Shape(size=64, whole=whole), detector, Clock(), stack)


def test_frames_that_are_not_looked_at_are_not_converted(clip, monkeypatch):
    converted = []
    frame = VideoReader.frame
    monkeypatch.setattr(VideoReader, "frame", lambda self, shown: converted.append(1) or frame(self, shown))
    sightings = find_faces(clip, RedDetector(), Clock())
    assert sightings.frames == 12
    assert len(converted) == len(range(0, 12, LOOK_EVERY))


def test_the_middle_is_scaled_as_it_is_decoded(clip):
    with ExitStack() as stack:
        squares = [shown.squares[0] for shown in opened(clip, Framing(crop="center"), stack)]
    wanted = [frame.image for frame in read_frames(clip, size=64)]
    np.testing.assert_array_equal(squares, wanted)


def test_squares_around_the_face_and_whole_pictures(clip):
    with ExitStack() as stack:
        footage = opened(clip, Framing(), stack, whole=True, detector=RedDetector())
        shown = list(footage)
        again = list(footage.reopened(stack).first_squares())
        single = footage.square_of(7)
    assert shown[0].picture.shape == (240, 320, 3)
    assert shown[0].squares[0].shape == (64, 64, 3)
    assert [frame.index for frame in shown] == list(range(12))
    np.testing.assert_array_equal([frame.squares[0] for frame in shown], again)
    np.testing.assert_array_equal(single, shown[7].squares[0])


def test_a_frame_that_is_not_there(clip):
    with ExitStack() as stack, pytest.raises(MediaError, match="from 0 to 11"):
        opened(clip, Framing(crop="center"), stack).square_of(12)


def test_faces_are_looked_for_once_unless_the_file_changes(clip):
    detector = RedDetector()
    first = find_faces(clip, detector, Clock())
    looks = detector.calls
    assert find_faces(clip, detector, Clock()) is first
    assert detector.calls == looks
    write_clip(clip, 6, size=SIZE, pictures=[painted(*SIZE)] * 6)
    assert not find_faces(clip, detector, Clock()).any


def test_the_first_pass_tells_how_far_it_is(clip):
    told = []
    find_faces(clip, RedDetector(), Clock(looking=lambda *each: told.append(each)))
    assert told == [("faces in d.mp4", done, 12) for done in range(1, 13)]


def test_a_video_without_faces_is_no_dearer_than_one_with(tmp_path, monkeypatch):
    """Two looks at every fifth frame, one of them with a margin; none at those between."""
    write_clip(tmp_path / "n.mp4", 31, size=SIZE, pictures=[painted(*SIZE)] * 31)
    converted = []
    frame = VideoReader.frame
    monkeypatch.setattr(VideoReader, "frame", lambda self, shown: converted.append(1) or frame(self, shown))
    detector = RedDetector()
    sightings = find_faces(tmp_path / "n.mp4", detector, Clock())
    assert len(converted) == len(range(0, 31, LOOK_EVERY))
    assert detector.calls <= 2 * len(converted) + 2
    assert [frame for frame, _ in sightings.looks] == list(range(31))
