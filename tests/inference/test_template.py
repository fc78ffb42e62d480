from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.clock import Clock
from synhead.inference.drivers import TemplateDriver
from synhead.inference.fingerprint import ModelFingerprint
from synhead.inference.keypoint_stream import joined
from synhead.inference.recorded_faces import RecordedFaces
from synhead.inference.template import MotionTemplate, TemplateError, TemplateOrigin
from synhead.types import Keypoints
from tests.inference.conftest import keypoints
from tests.inference.face_factory import face
from tests.inference.test_recorded_faces import recorded

NTSC = Fraction(30000, 1001)
ORIGIN = TemplateOrigin(model=ModelFingerprint(weights="a" * 64, config="b" * 64), checkpoint="weights/base")


def template(frames: int = 5, **changes) -> MotionTemplate:
    fields = {
        "keypoints": keypoints(frames, 0),
        "times": tuple(i / NTSC for i in range(frames)),
        "durations": (1 / NTSC,) * frames,
        "rate": NTSC,
        "time_base": Fraction(1, 30000),
        "origin": ORIGIN,
    }
    return MotionTemplate(**{**fields, **changes})


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_it_drives_in_batches(model, size):
    whole = template()
    moves = list(TemplateDriver(whole).moves(Animator(model, AnimatorOptions(batch_size=size)), Clock()))
    assert [len(batch.frames) for batch in moves] == [min(size, 5 - i) for i in range(0, 5, size)]
    found = joined(batch.keypoints for batch in moves)
    assert torch.equal(found.position, whole.keypoints.position)
    assert torch.equal(found.jacobian, whole.keypoints.jacobian)
    frames = [frame for batch in moves for frame in batch.frames]
    assert tuple(frame.time for frame in frames) == whole.times
    assert tuple(frame.duration for frame in frames) == whole.durations


def test_one_frame():
    assert torch.equal(template().frame(3).position, template().keypoints.position[3:4])
    for index in (-1, 5):
        with pytest.raises(TemplateError, match="from 0 to 4"):
            template().frame(index)


def faces(frames: int) -> RecordedFaces:
    """The middle frame has none."""
    return recorded(*[None if i == frames // 2 else face(mouth=i / 10, yaw=float(i)) for i in range(frames)])


def nan_at_the_end() -> Keypoints:
    found = keypoints(5, 0)
    found.jacobian[4, 14, 1, 1] = float("nan")
    return found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": nan_at_the_end()}, "no numbers"),
        ({"keypoints": keypoints(4, 0)}, "one time for each"),
        ({"keypoints": keypoints(0, 0), "times": (), "durations": ()}, "0 frames"),
        ({"times": tuple(Fraction(i, 25) for i in (0, 1, 1, 2, 3))}, "do not grow"),
        ({"durations": (Fraction(0),) * 5}, "not above 0"),
        ({"rate": Fraction(0)}, "not above 0"),
        ({"reference": 5}, "no frame 5"),
        ({"reference": -1}, "no frame -1"),
        ({"faces": faces(4)}, "one face for each"),
        ({"faces": replace(faces(5), announced=-1)}, "in part only"),
    ],
)
def test_what_does_not_fit(changes, message):
    with pytest.raises(TemplateError, match=message) as caught:
        template(**changes)
    assert "synhead record" in str(caught.value)


def test_the_model_it_was_recorded_with():
    template().check_model(ORIGIN.model)
    for other, digits in (
        (replace(ORIGIN.model, weights="c" * 64), ("a" * 12, "c" * 12)),
        (replace(ORIGIN.model, config="d" * 64), ("b" * 12, "d" * 12)),
    ):
        with pytest.raises(TemplateError) as caught:
            template().check_model(other, name="smile.safetensors")
        for part in (*digits, "smile.safetensors", "weights/base", "synhead record"):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)
