from __future__ import annotations

import pytest
from tests.faces.pictures import RedDetector, painted

from synhead.faces.analyzer import FaceBox, FaceError
from synhead.faces.boxes import Box
from synhead.faces.selection import FaceChoice
from synhead.faces.sightings import FaceScanner, Sightings, follow


def face(left: float, side: float = 100.0) -> FaceBox:
    return FaceBox(Box(left, 0.0, left + side, side), 0.9)


def looks(*rows: tuple[int, tuple[FaceBox, ...]], frames: int = 100) -> Sightings:
    return Sightings(frames, rows)


def scan(faceless: set[int], frames: int = 40, every: int = 5) -> tuple[Sightings, RedDetector]:
    detector = RedDetector()
    scanner = FaceScanner(detector, every=every)
    for index in range(frames):
        boxes = () if index in faceless else ((20 + index, 20, 60 + index, 60),)
        scanner.add(lambda boxes=boxes: painted(160, 90, *boxes))
    return scanner.finish(), detector


def test_every_fifth_frame_is_looked_at():
    sightings, detector = scan(set())
    assert [frame for frame, _ in sightings.looks] == list(range(0, 40, 5))
    assert detector.calls == 8
    assert sightings.frames == 40


def test_a_gap_is_known_frame_by_frame():
    sightings, _ = scan(set(range(13, 22)))
    followed = follow(sightings)
    assert followed.missing == list(range(13, 22))
    assert followed.tracks[0].at(17) == followed.tracks[0].at(12)  # held
    assert followed.tracks[0].at(22).left == 42


def test_a_long_gap_costs_no_more_than_faces_do():
    sightings, detector = scan(set(range(13, 41)), frames=60)
    assert follow(sightings).missing == list(range(13, 41))
    assert sorted(frame for frame, _ in sightings.looks) == [frame for frame, _ in sightings.looks]
    assert detector.calls < 35  # two at a look without a face, and back at both ends of the gap


@pytest.mark.parametrize("first", range(33, 40))
def test_a_face_that_comes_at_the_very_end(first):
    sightings, _ = scan(set(range(first)))
    assert follow(sightings).missing == list(range(first))


def test_a_video_without_faces():
    sightings, detector = scan(set(range(40)))
    assert not sightings.any
    assert detector.calls < 30
    assert follow(sightings).tracks == []
    assert follow(sightings).missing == list(range(40))


def test_small_faces_are_searched_for_and_then_followed_small():
    detector = RedDetector(visible=0.1)
    scanner = FaceScanner(detector, every=5)
    for index in range(6):
        scanner.add(lambda index=index: painted(1600, 900, (700 + index, 400, 760 + index, 470)))
    boxes = [faces[0].box.left for _, faces in scanner.finish().looks]
    assert boxes == pytest.approx([700, 705], abs=3)


def test_the_nearest_face_is_followed_not_the_largest():
    rows = [(5 * i, (face(4.0 * i, 90.0), face(300.0, 80 + 5.0 * i))) for i in range(6)]
    followed = follow(looks(*rows))
    assert [track.boxes[-1].left for track in followed.tracks] == [20]


def test_another_face_is_taken_only_if_it_stays():
    back = [(0, (face(0.0),)), (5, (face(400.0),)), (10, (face(0.0),))]
    followed = follow(looks(*back))
    assert len(followed.tracks) == 1
    assert followed.missing == [5]
    stays = [(0, (face(0.0),)), *((frame, (face(400.0),)) for frame in range(5, 40, 5))]
    followed = follow(looks(*stays))
    assert [track.frames[0] for track in followed.tracks] == [0, 5]
    assert followed.missing == []


def test_choice_by_index_waits_for_that_face():
    rows = [(0, (face(0.0),)), (5, (face(0.0), face(300.0))), (10, (face(0.0), face(305.0)))]
    followed = follow(looks(*rows), FaceChoice.parse("1"))
    assert followed.tracks[0].boxes[0].left == 300
    assert followed.missing == [0]
    with pytest.raises(FaceError, match="no face 2"):
        follow(looks(*rows), FaceChoice.parse("2"))
