import numpy as np
import pytest
import torch

from synhead.config import ConfigError
from synhead.faces.pose import HeadPose
from synhead.inference.face_shape import Openings
from synhead.inference.keypoint_stream import rows
from synhead.inference.retargeting import (
    MIN_FRAMES,
    FaceMeasure,
    ResponseFit,
    Strengths,
    retarget,
)
from synhead.types import Keypoints
from tests.inference.conftest import keypoints

COUNT = 200


class Scene:
    """Keypoints of which numbers 0 and 1 follow the mouth, number 2 follows the eyes, and all follow the head."""

    def __init__(self, *, noise: float = 0.001, mouth: float = 0.15, eyes: float = 0.1) -> None:
        generator = np.random.default_rng(0)
        clock = np.arange(COUNT) / 25
        self.mouth = mouth * (1 + np.sin(9 * clock))
        self.eyes = 0.3 - eyes * (np.sin(3.1 * clock) > 0.8)
        # the head nods with the syllables, as heads do
        yaw, pitch = 8 * np.sin(1.3 * clock), 3 * np.sin(0.7 * clock) + 10 * self.mouth
        self.pose = np.stack([yaw, pitch, 4 * np.sin(0.4 * clock)], axis=1)
        self.to_mouth, self.to_eyes = torch.zeros(2, 15, 2), torch.zeros(2, 15, 2, 2)
        self.to_mouth[0, :2, 1], self.to_mouth[1, 2, 1] = 0.2, -0.1
        self.to_eyes[0, :2, 1, 1], self.to_eyes[1, 2, 1, 1] = 0.8, 1.5
        head = torch.from_numpy(generator.normal(0, 0.01, (3, 15, 2))).float()
        opened = torch.from_numpy(np.stack([self.mouth, self.eyes], axis=1)).float()
        rest = keypoints(1, 0)
        self.opened = opened
        self.motion = Keypoints(
            position=rest.position
            + torch.tensordot(opened, self.to_mouth, dims=1)
            + torch.tensordot(torch.from_numpy(self.pose).float(), head, dims=1)
            + noise * torch.from_numpy(generator.normal(size=(COUNT, 15, 2))).float(),
            jacobian=rest.jacobian + torch.tensordot(opened, self.to_eyes, dims=1),
        )

    def faces(self) -> list[FaceMeasure]:
        measured = zip(self.mouth, self.eyes, self.pose, strict=True)
        return [FaceMeasure(Openings(mouth=m, eyes=e), HeadPose(*map(float, pose))) for m, e, pose in measured]

    def fit(self, size: int = 8):
        fit, faces = ResponseFit(), self.faces()
        for i in range(0, COUNT, size):
            fit.add(rows(self.motion, i, i + size), faces[i : i + size])
        return fit.solve()


def test_the_response_is_found_in_spite_of_the_nodding_head():
    scene = Scene()
    found = scene.fit()
    torch.testing.assert_close(found.position, scene.to_mouth, rtol=0, atol=0.01)
    torch.testing.assert_close(found.jacobian, scene.to_eyes, rtol=0, atol=0.01)
    assert min(found.shares) > 0.8
    assert found.unusable == ()


def test_batches_do_not_matter():
    one, other = Scene().fit(size=8), Scene().fit(size=33)
    torch.testing.assert_close(one.position, other.position, rtol=0, atol=1e-5)


def test_openings_become_larger_and_nothing_else_does():
    scene = Scene(noise=0.0)
    response = scene.fit()
    faces = [each.openings for each in scene.faces()]
    found = retarget(scene.motion, faces, faces[0], response, Strengths(mouth=2.0, eyes=0.0))
    change = (scene.opened - scene.opened[:1]) * torch.tensor([1.0, -1.0])
    wanted = scene.motion.position + torch.tensordot(change, scene.to_mouth, dims=1)
    torch.testing.assert_close(found.position, wanted, rtol=0, atol=0.002)
    torch.testing.assert_close(found.position[:, 3:], scene.motion.position[:, 3:], rtol=0, atol=0.002)
    assert (found.position - scene.motion.position).abs().max() > 0.03
    assert torch.equal(found.position[0], scene.motion.position[0]), "the reference frame stays"
    lids = found.jacobian[:, 2, 1, 1] - scene.motion.jacobian[:, 2, 1, 1]
    torch.testing.assert_close(lids, 1.5 * change[:, 1], rtol=0, atol=0.01)


def test_strength_one_changes_no_bit():
    scene = Scene()
    faces = [each.openings for each in scene.faces()]
    found = retarget(scene.motion, faces, faces[0], scene.fit(), Strengths())
    assert torch.equal(found.position, scene.motion.position)
    assert torch.equal(found.jacobian, scene.motion.jacobian)


def test_what_never_moves_cannot_be_learnt():
    response = Scene(eyes=0.0).fit()
    assert response.unusable == ("eyes",)
    assert response.position[1].abs().max() == 0
    assert response.shares.mouth > 0.9


def test_keypoints_that_do_not_follow_give_no_response():
    scene = Scene()
    fit = ResponseFit()
    generator = torch.Generator().manual_seed(3)
    noise = Keypoints(position=torch.randn(COUNT, 15, 2, generator=generator), jacobian=scene.motion.jacobian.clone())
    fit.add(noise, scene.faces())
    assert fit.solve().unusable == ("mouth", "eyes")


def test_frames_without_a_face_are_left_out():
    scene = Scene()
    faces: list[FaceMeasure | None] = list(scene.faces())
    faces[::3] = [None] * len(faces[::3])
    fit = ResponseFit()
    fit.add(scene.motion, faces)
    torch.testing.assert_close(fit.solve().position, scene.to_mouth, rtol=0, atol=0.01)
    few = ResponseFit()
    few.add(scene.motion, [None] * (COUNT - MIN_FRAMES + 1) + scene.faces()[: MIN_FRAMES - 1])
    for hopeless in (few, ResponseFit()):
        with pytest.raises(ConfigError, match=str(MIN_FRAMES)):
            hopeless.solve()


def test_without_poses():
    scene = Scene()
    fit = ResponseFit()
    fit.add(scene.motion, [FaceMeasure(each.openings, None) for each in scene.faces()])
    assert fit.solve().position.isfinite().all()


@pytest.mark.parametrize("options", [{"mouth": -0.1}, {"eyes": 9.0}, {"mouth": float("nan")}])
def test_bad_strengths(options):
    with pytest.raises(ConfigError, match="strength"):
        Strengths(**options)
