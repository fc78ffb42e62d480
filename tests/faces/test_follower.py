from __future__ import annotations

import numpy as np
from tests.faces.pictures import RedDetector, painted

from synhead.faces.crops import Crop
from synhead.faces.follower import FaceFollower, Following

SIZE = (400, 300)
STEP_S = 0.1


def at(x: float, *, size: float = 60.0, y: float = 120.0) -> np.ndarray:
    """A face around (x, y)."""
    left, top = round(x - size / 2), round(y - size / 2)
    return painted(*SIZE, (left, top, left + round(size), top + round(size)))


def run(follower: FaceFollower, pictures: list[np.ndarray], start: float = 0.0) -> list[Crop | None]:
    return [follower.crop(picture, start + STEP_S * number) for number, picture in enumerate(pictures)]


def test_a_face_that_moves_a_little_has_one_crop_of_whole_pixels() -> None:
    generator = np.random.default_rng(0)
    pictures = [at(200 + dx, size=60 + ds) for dx, ds in generator.integers(-4, 5, (30, 2))]
    crops = run(FaceFollower(RedDetector()), pictures)
    assert len(set(crops)) == 1
    assert crops[0] is not None
    assert (crops[0].x - crops[0].side / 2).is_integer()


def test_a_face_that_leaves_is_followed_smoothly_and_reached() -> None:
    crops = run(FaceFollower(RedDetector()), [at(190)] * 5 + [at(230)] * 40)
    x = np.array([crop.x for crop in crops if crop])
    assert len(x) == 45
    assert np.abs(np.diff(x)).max() < 10
    assert 0 <= 230 - x[-1] <= 0.13 * crops[-1].side, "the dead zone is left over"
    assert (np.diff(x) >= 0).all()


def test_it_looks_now_and_then_at_a_still_face_and_at_all_pictures_without_one() -> None:
    detector = RedDetector()
    run(FaceFollower(detector, Following(every=3)), [at(200)] * 7)
    assert detector.calls == 3
    run(follower := FaceFollower(moving := RedDetector(), Following(every=100)), [at(200)] * 5)
    assert moving.calls == 1
    run(follower, [at(220)] * 2)
    assert moving.calls == 2, "a face that has moved is looked for"
    assert run(follower, [painted(*SIZE)]) == [None], "and one that has gone is missed at once"
    detector = RedDetector()
    crops = run(FaceFollower(detector), [painted(*SIZE)] * 4)
    assert crops == [None] * 4
    assert detector.calls == 8, "each time once more with a margin"


def test_a_face_that_comes_back_has_its_crop_back() -> None:
    crops = run(FaceFollower(RedDetector(), Following(every=1)), [at(200), painted(*SIZE), painted(*SIZE), at(203)])
    assert crops[1] is crops[2] is None
    assert crops[3] == crops[0]


def test_another_face_is_taken_only_after_a_while() -> None:
    follower = FaceFollower(RedDetector(), Following(every=1, patience_s=0.45))
    crops = run(follower, [at(100)] + [at(300)] * 8)
    assert [crop is None for crop in crops] == [False] + [True] * 4 + [False] * 4
    assert crops[5] is not None
    assert abs(crops[5].x - 300) < 1, "at once, not on the way from the other one"


def test_the_followed_face_wins_over_a_larger_one() -> None:
    both = at(100)
    both[60:200, 220:360] = (255, 0, 0)
    crops = run(FaceFollower(RedDetector(), Following(every=1)), [at(100), both, both])
    assert len({crop.x for crop in crops if crop}) == 1


def test_recentre_and_another_size_of_picture_choose_anew() -> None:
    follower = FaceFollower(RedDetector(), Following(every=1))
    first, moved = run(follower, [at(200), at(206)])
    assert moved == first
    follower.recentre()
    (anew,) = run(follower, [at(206)], 0.2)
    assert anew is not None
    assert (anew.x - first.x, anew.side) == (6, first.side)
    smaller = follower.crop(painted(200, 150, (70, 40, 110, 80)), 0.3)
    assert smaller is not None
    assert abs(smaller.x - 90) < 1


def test_crops_stay_inside_where_they_fit() -> None:
    (crop,) = run(FaceFollower(RedDetector()), [at(35)])
    assert crop is not None
    assert crop.x - crop.side / 2 == 0
