"""Faces as a template keeps them: what comes out is what the search saw, to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.pose import HeadPose
from synhead.inference.face_shape import face_shape
from synhead.inference.recorded_faces import FaceRecorder, RecordedFaces
from tests.inference.face_factory import face, landmarks

SQUARE = np.zeros((8, 8, 3), dtype=np.uint8)


class Listed:
    """Finds the faces it was given, one a picture."""

    version = "listed"

    def __init__(self, faces: list[FaceLandmarks | None]) -> None:
        self.faces = iter(faces)

    def landmarks(self, image: np.ndarray) -> tuple[FaceLandmarks, ...]:
        del image
        found = next(self.faces)
        return () if found is None else (found,)

    def close(self) -> None:
        pass


def recorded(*faces: FaceLandmarks | None, announced: int | None = None) -> RecordedFaces:
    recorder = FaceRecorder(Listed(list(faces)))
    for _ in faces:
        recorder.add(SQUARE)
    return recorder.faces(announced)


angles = st.floats(-180, 180)
poses = st.one_of(st.none(), st.builds(HeadPose, angles, angles, angles))


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e4), poses)
@settings(max_examples=50, deadline=None)
def test_a_shape_comes_back_to_the_last_bit(seed, size, pose):
    cloud = landmarks(np.random.default_rng(seed).normal(scale=size, size=(478, 2)), pose)
    wanted, found = face_shape(cloud), recorded(cloud).shape(0)
    assert found is not None
    assert found.points.dtype == wanted.points.dtype
    np.testing.assert_array_equal(found.points, wanted.points)
    assert (found.pose, found.openings) == (wanted.pose, wanted.openings)


def test_frames_without_a_face_or_without_a_pose():
    poseless = landmarks(face().points_px - 300, None)
    faces = recorded(None, face(mouth=0.3), poseless, announced=90)
    assert (len(faces), faces.found, faces.analyzer, faces.announced) == (3, 2, "listed", 90)
    assert faces.shape(0) is None
    assert faces.shape(1).openings.mouth == pytest.approx(0.3, rel=1e-4)
    assert faces.shape(2).pose is None
    assert faces.sound


def test_a_frame_takes_under_two_kilobytes():
    faces = recorded(*[face()] * 4)
    assert (faces.points.nbytes + faces.measures.nbytes) / len(faces) < 2000


@pytest.mark.parametrize("unknown", [(0,), (1,), (0, 1), (3,), (2, 3)])
def test_what_is_measured_in_part_only_is_unsound(unknown):
    faces = recorded(face(), face())
    faces.measures[1, list(unknown)] = torch.nan
    assert not faces.sound
    assert not replace(recorded(face()), announced=-1).sound
