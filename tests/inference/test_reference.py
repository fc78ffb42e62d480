import sys
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synhead.data.errors import MediaError
from synhead.data.video import VideoWriter, probe, read_frames
from synhead.faces.analyzer import FaceError, FaceLandmarks
from synhead.faces.pose import HeadPose
from synhead.inference import reference
from synhead.inference.face_shape import Openings, face_shape, shape_difference
from synhead.inference.recorded_faces import FaceRecorder, RecordedFaces
from synhead.inference.reference import (
    CANDIDATES,
    ReferenceMatch,
    ReferenceSearch,
    describe,
    find_recorded,
    find_reference,
)
from tests.data.video_factory import level, picture, write_clip
from tests.inference.face_factory import face

FRAMES = 24
PORTRAIT = picture(0, 64, 64)


class Scripted:
    """Knows which frame a picture is, and what face it was told to find there; the portrait is frame 0's picture."""

    version = "scripted"

    def __init__(self, faces: dict[int, FaceLandmarks], portrait: FaceLandmarks | None) -> None:
        self.faces, self.portrait = faces, portrait
        self.seen: list[int] = []

    def landmarks(self, image) -> tuple[FaceLandmarks, ...]:
        if image is PORTRAIT:
            return () if self.portrait is None else (self.portrait,)
        self.seen.append(level(image))
        found = self.faces.get(level(image))
        return () if found is None else (found,)

    def close(self) -> None:
        pass


def nodding(best: int) -> dict[int, FaceLandmarks]:
    """Faces that come nearer to the portrait's pose until frame ``best``, then leave it again."""
    return {i: face(yaw=3.0 * abs(i - best)) for i in range(FRAMES)}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES)


@pytest.mark.parametrize("step", [1, 3, 4, 7, 50])
@pytest.mark.parametrize("best", [0, 5, 13, FRAMES - 1])
def test_the_best_frame_is_found_between_the_steps(clip, best, step):
    analyzer = Scripted(nodding(best), face())
    match = find_reference(analyzer, PORTRAIT, clip, step=step)
    assert (match.index, match.score) == (best, pytest.approx(0, abs=1e-6))
    assert len(set(analyzer.seen)) == len(analyzer.seen) == match.looked, "no frame is looked at twice"
    if step == 4:
        assert match.looked < FRAMES


def test_frames_without_a_face_are_skipped(clip):
    faces = nodding(13)
    for i in range(0, FRAMES, 2):
        del faces[i]
    match = find_reference(Scripted(faces, face()), PORTRAIT, clip, step=1)
    assert (match.index, match.looked, match.without_face) == (13, FRAMES, FRAMES // 2)


def recorded(clip: Path, analyzer: Scripted) -> RecordedFaces:
    recorder = FaceRecorder(analyzer)
    for frame in read_frames(clip):
        recorder.add(frame.image)
    return recorder.faces(probe(clip).frames)


@pytest.fixture
def few_looks(monkeypatch):
    """The first round looks at every fourth frame."""
    monkeypatch.setattr(reference, "MAX_LOOKS", FRAMES // 4)


@pytest.mark.usefixtures("few_looks")
@pytest.mark.parametrize("best", [0, 6, 13, FRAMES - 1])
def test_recorded_faces_give_the_match_of_their_clip(clip, best):
    """In every field, though the search passes over most of the frames that are recorded."""
    faces = nodding(best)
    for i in range(0, FRAMES, 5):
        del faces[i]
    found = find_recorded(Scripted({}, face()), PORTRAIT, recorded(clip, Scripted(faces, face())))
    assert found == find_reference(Scripted(faces, face()), PORTRAIT, clip)
    assert 0 < found.without_face < found.looked < FRAMES


@pytest.mark.usefixtures("few_looks")
def test_what_the_search_in_a_clip_misses_its_recorded_faces_miss_too(clip):
    faces = {i: face(yaw=30.0 if i % 4 else abs(i - 20.0) + 10) for i in range(FRAMES)} | {5: face()}
    misled = find_reference(Scripted(faces, face()), PORTRAIT, clip)
    assert misled.score > 0
    assert find_recorded(Scripted({}, face()), PORTRAIT, recorded(clip, Scripted(faces, face()))) == misled


def test_a_container_that_promises_the_impossible_costs_nothing(clip):
    faces = replace(recorded(clip, Scripted(nodding(13), face())), announced=10**300)
    match = find_recorded(Scripted({}, face()), PORTRAIT, faces)
    assert (match.index, match.looked) == (13, FRAMES)


def test_no_face_among_those_recorded(clip):
    with pytest.raises(FaceError, match=r"driver.*--reference 0"):
        find_recorded(Scripted({}, face()), PORTRAIT, recorded(clip, Scripted({}, face())))
    with pytest.raises(FaceError, match=r"portrait.*--reference 0"):
        find_recorded(Scripted({}, None), PORTRAIT, recorded(clip, Scripted(nodding(3), face())))


def test_no_face_names_the_remedy(clip):
    with pytest.raises(FaceError, match=r"driver.*--reference 0"):
        find_reference(Scripted({}, face()), PORTRAIT, clip)
    analyzer = Scripted(nodding(3), None)
    with pytest.raises(FaceError, match=r"portrait.*--reference 0"):
        find_reference(analyzer, PORTRAIT, clip)
    assert analyzer.seen == [], "the driver is not read for nothing"


def test_no_video(tmp_path):
    with pytest.raises(MediaError):
        find_reference(Scripted({}, face()), PORTRAIT, tmp_path / "none.mp4")


def best(portrait: FaceLandmarks, driver: list[FaceLandmarks | None]) -> ReferenceMatch:
    search = ReferenceSearch(face_shape(portrait))
    for index, each in enumerate(driver):
        search.offer(index, None if each is None else face_shape(each))
    return search.best()


def test_expression_counts_when_pose_is_equal():
    driver = [face(mouth=0.5), face(mouth=0.1, eyes=0.0), face(mouth=0.1), face(mouth=0.0)]
    assert best(face(mouth=0.1), driver).index == 2
    assert best(face(mouth=0.12, eyes=0.02), driver).index == 1


openness, angles = st.floats(0, 0.6), st.floats(-40, 40)


@given(st.lists(st.one_of(st.none(), st.tuples(openness, angles)), max_size=6))
@settings(max_examples=20, deadline=None)
def test_it_is_the_smallest_difference_of_all(driver):
    portrait = face(mouth=0.2, yaw=4.0)
    faces = [None if given is None else face(mouth=given[0], yaw=given[1]) for given in driver]
    scores = [None if each is None else shape_difference(face_shape(portrait), face_shape(each)) for each in faces]
    known = [score for score in scores if score is not None]
    if not known:
        with pytest.raises(FaceError):
            best(portrait, faces)
        return
    match = best(portrait, faces)
    assert match.score == min(known)
    assert match.index == scores.index(min(known)), "of equal frames the first"
    assert match.without_face == scores.count(None)


def test_memory_is_bounded():
    search = ReferenceSearch(face_shape(face()))
    for i in range(50):
        search.offer(i, face_shape(face(yaw=float(i % 7))))
    assert search.candidates() == [0, 7, 14]
    assert len(search._best) == CANDIDATES


def match(turn: HeadPose | None = None, mouth: float = 0.0, eyes: float = 0.0, **rest) -> ReferenceMatch:
    fields = {"index": 37, "score": 0.5, "looked": 10, "without_face": 0, **rest}
    return ReferenceMatch(turn=turn, openings=Openings(mouth=mouth, eyes=eyes), **fields)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (match(HeadPose(12.4, 0.0, 0.0)), "head is turned 12 degrees to the right of the picture"),
        (match(HeadPose(-12.0, -5.0, 0.0)), "turned 12 degrees to the left of the picture, the head is raised by 5"),
        (match(HeadPose(0.0, 4.0, -8.0)), "lowered by 4 degrees, the head is tilted anticlockwise by 8 degrees"),
        (match(mouth=0.3, eyes=-0.2), "the mouth is wider open, the eyes are more closed"),
        (match(HeadPose(1.0, -1.0, 2.0)), "pose and expression are alike"),
        (match(score=0.01), "very like it"),
        (match(without_face=4), "(4 of 10 frames looked at show no face)"),
    ],
)
def test_the_user_is_told(given, told):
    assert told in describe(given)
    assert describe(given).startswith("driver frame 37 fits the portrait best")


def test_real_landmarks_on_rendered_footage(tmp_path, monkeypatch):
    """A frame of the clip is the portrait: through H.264 and mediapipe that frame is found again."""
    pytest.importorskip("skimage")
    pytest.importorskip("mediapipe")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    import footage  # noqa: PLC0415
    from synhead.faces.mediapipe_backend import open_analyzer  # noqa: PLC0415

    frames = list(footage.driver_frames(30, 25))
    with VideoWriter(tmp_path / "driver.mp4", rate=Fraction(25), size=(footage.SIZE, footage.SIZE)) as writer:
        for frame in frames:
            writer.write(frame)
    with closing(open_analyzer()) as analyzer:
        found = find_reference(analyzer, frames[19], tmp_path / "driver.mp4", step=4)
    assert found.index == 19
    assert found.looked < 30
    sys.modules.pop("footage", None)
