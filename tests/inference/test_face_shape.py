import numpy as np
import pytest

from synhead.faces.pose import HeadPose
from synhead.inference.face_shape import (
    POINT_STEP,
    FaceShape,
    Openings,
    face_shape,
    openings,
    pose_change,
    shape_difference,
)
from tests.inference.face_factory import face, landmarks


def test_openings_are_measured():
    found = openings(face(mouth=0.4, eyes=0.25))
    assert found.mouth == pytest.approx(0.4, rel=1e-4)
    assert found.eyes == pytest.approx(0.25, rel=1e-4)
    assert openings(landmarks(np.zeros((478, 2)), None)).mouth == 0.0


@pytest.mark.parametrize("size", [0.2, 3.0])
def test_place_and_size_do_not_count(size):
    one = face(mouth=0.2)
    other = landmarks(size * (one.points_px - 300) + 50, one.pose)
    assert shape_difference(face_shape(one), face_shape(other)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("stretch", [1.0, 1e4])
def test_points_are_whole_steps_of_sixteen_bits(stretch):
    """Also where a face is so flat that its points lie far from its middle in units of its size."""
    found = face(mouth=0.2)
    flat = landmarks((found.points_px - 300) * np.array([stretch, 1 / stretch]), found.pose)
    steps = face_shape(flat).points / POINT_STEP
    assert np.array_equal(steps, steps.astype(np.int16))
    assert np.abs(steps).max() > 1000


def test_irises_do_not_count():
    assert shape_difference(face_shape(face(count=478)), face_shape(face(count=468))) == 0


@pytest.mark.parametrize("change", ["mouth", "eyes", "yaw", "pitch", "roll"])
def test_it_grows_with_each_difference(change):
    steps = (0.05, 0.2, 0.5) if change in ("mouth", "eyes") else (5.0, 20.0, 60.0)
    rest = {"mouth": 0.0, "eyes": 0.0}
    plain = face_shape(face(**rest))
    found = [shape_difference(plain, face_shape(face(**{**rest, change: step}))) for step in steps]
    assert 0 < found[0] < found[1] < found[2]


def test_units():
    """Ten degrees on all axes, a quarter of a mouth and a fifth of an eye, with the same points, make 1."""
    plain = face_shape(face())
    other = FaceShape(plain.points, HeadPose(10.0, -10.0, 10.0), Openings(mouth=0.25, eyes=0.5))
    assert shape_difference(plain, other) == pytest.approx(1, rel=1e-4)
    apart = FaceShape(plain.points + np.array([0.03, 0.04]), plain.pose, plain.openings)
    assert shape_difference(plain, apart) == pytest.approx(1, rel=1e-4)


def test_an_unknown_pose_is_left_out():
    known, unknown = face(yaw=20.0), landmarks(face().points_px - 300, None)
    assert shape_difference(face_shape(known), face_shape(unknown)) == pytest.approx(0, abs=1e-8)
    assert pose_change(known.pose, None) is None


def test_angles_go_the_short_way_round():
    assert pose_change(HeadPose(175.0, 0.0, -10.0), HeadPose(-175.0, 5.0, 10.0)) == HeadPose(10.0, 5.0, 20.0)


def test_coincident_points_give_numbers():
    point = face_shape(landmarks(np.zeros((478, 2)), None))
    assert np.isfinite(shape_difference(point, face_shape(face())))
