from __future__ import annotations

import pytest

from synhead.faces.boxes import Box
from synhead.faces.tracking import Track, Tracker, square_crop


def box(left: float, top: float = 0.0, side: float = 100.0) -> Box:
    return Box(float(left), float(top), float(left + side), float(top + side))


def test_two_faces_are_two_tracks():
    tracker = Tracker()
    for frame in range(0, 20, 5):
        tracker.add(frame, [box(300 - frame), box(frame)])
    tracks = tracker.finish()
    assert [track.frames for track in tracks] == [[0, 5, 10, 15]] * 2
    assert [track.boxes[-1].left for track in tracks] == [15, 285]


def test_overlap_is_with_the_first_box():
    """A face that wanders off slowly starts a new track, though successive boxes overlap a lot."""
    tracker = Tracker(min_overlap=0.25)
    for frame in range(10):
        tracker.add(frame, [box(20 * frame)])
    tracks = tracker.finish()
    assert len(tracks) > 1
    assert all(track.boxes[-1].left - track.boxes[0].left <= 60 for track in tracks)


def test_a_gap_and_a_cut_end_tracks():
    tracker = Tracker()
    tracker.add(0, [box(0)])
    tracker.add(5, [])
    tracker.add(10, [box(0)])
    tracker.cut()
    tracker.add(12, [box(0)])
    assert [track.frames for track in tracker.finish()] == [[0], [10], [12]]


def test_interpolation():
    track = Track([10, 20], [box(0), box(40)])
    assert track.at(15) == box(20)
    assert track.at(0) == track.at(10) == box(0)
    assert track.at(99) == track.at(20) == box(40)
    assert track.between(12, 18) == [box(8), box(32)]
    assert track.between(0, 30) == [box(0), box(0), box(40), box(40)]


def test_crop_is_a_square_with_room_above_all():
    crop = square_crop([box(100, 200), box(110, 200)])
    assert crop.side == pytest.approx(147.5, abs=1)
    assert crop.left + crop.side / 2 == pytest.approx(155, abs=1)
    assert crop.top == pytest.approx(200 - 33, abs=1)
    wide = square_crop([box(0), box(300)])
    assert wide.left <= 0
    assert wide.left + wide.side >= 400
