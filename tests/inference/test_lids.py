import runpy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synhead.config import ConfigError, preset
from synhead.evaluation.renderers import ModelRenderer
from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.boxes import Box
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.lids import LIDS, move_lids
from synhead.model.talking_head import TalkingHead
from synhead.types import FacePoint, Keypoints
from synhead.weights import checkpoint
from tests.data.clip_factory import write_shard, write_video
from tests.inference.conftest import blobs, keypoints

lids = runpy.run_path("benchmarks/lids.py")


def gaps(points: Keypoints) -> torch.Tensor:
    return torch.stack([(points.position[:, low] - points.position[:, up]).norm(dim=-1) for up, low in LIDS], dim=-1)


def with_gaps(points: Keypoints, left: float, right: float) -> Keypoints:
    """Upper lids so far above the lower ones."""
    position = points.position.clone()
    for (upper, lower), gap in zip(LIDS, (left, right), strict=True):
        position[:, upper] = position[:, lower] - torch.tensor([0.0, gap])
    return Keypoints(position=position, jacobian=points.jacobian)


def test_a_closing_eye_closes_further_and_nothing_else_moves():
    source = with_gaps(keypoints(1, 0), 0.08, 0.06)
    driving = with_gaps(source, 0.05, 0.07)
    moved = move_lids(driving, source, 1.5)
    size = driving.position - driving.position.mean(dim=1, keepdim=True)
    rest = source.position - source.position.mean(dim=1, keepdim=True)
    grown = (size.square().sum() / rest.square().sum()).sqrt()  # the lids themselves change it a little
    wanted = torch.tensor([0.08, 0.06]) * grown * -0.5 + 1.5 * torch.tensor([0.05, 0.07])
    torch.testing.assert_close(gaps(moved)[0], wanted, rtol=1e-4, atol=1e-6)
    upper = [FacePoint.LEFT_UPPER_LID, FacePoint.RIGHT_UPPER_LID]
    others = [i for i in range(driving.position.shape[1]) if i not in upper]
    assert torch.equal(moved.position[:, others], driving.position[:, others])
    assert torch.equal(moved.jacobian, driving.jacobian)


def test_an_eye_closes_but_no_further_and_a_shut_one_stays():
    source = with_gaps(keypoints(1, 0), 0.08, 0.08)
    moved = move_lids(with_gaps(source, 0.01, 0.0), source, 3.0)
    torch.testing.assert_close(gaps(moved), torch.zeros(1, 2), rtol=0, atol=1e-6)
    assert moved.position.isfinite().all()


@given(st.floats(0.5, 2.0), st.floats(-0.4, 0.4), st.floats(0.0, 3.0))
@settings(max_examples=30, deadline=None)
def test_a_face_that_comes_nearer_keeps_its_eyes(size, shift, gain):
    source = with_gaps(keypoints(1, 0), 0.08, 0.06)
    driving = Keypoints(position=source.position * size + shift, jacobian=source.jacobian)
    torch.testing.assert_close(move_lids(driving, source, gain).position, driving.position, rtol=0, atol=1e-5)


def test_batches_move_row_by_row_and_a_gain_of_one_changes_not_a_bit():
    source, driving = keypoints(1, 0), keypoints(3, 1)
    together = move_lids(driving, source, 2.0).position
    for row in range(3):
        alone = Keypoints(position=driving.position[row : row + 1], jacobian=driving.jacobian[row : row + 1])
        torch.testing.assert_close(move_lids(alone, source, 2.0).position[0], together[row])
    assert move_lids(driving, source, 1.0) is driving


def test_too_few_keypoints():
    few = Keypoints(position=torch.zeros(1, 7, 2), jacobian=torch.eye(2).expand(1, 7, 2, 2))
    with pytest.raises(ValueError, match="7 keypoints name no lids"):
        move_lids(few, few, 1.5)
    with pytest.raises(ConfigError, match="twelve landmarks"):
        replace(preset("tiny"), lid_gain=1.5)
    with pytest.raises(ConfigError, match="from 0 to 3"):
        replace(preset("base"), lid_gain=-1.0)


def test_a_portrait_is_animated_and_measured_with_the_weights_gain():
    tiny = preset("tiny")
    torch.manual_seed(0)
    model = TalkingHead(replace(tiny, keypoints=replace(tiny.keypoints, count=12), lid_gain=2.0)).eval()
    with torch.no_grad():
        model.keypoint_detector.logits.weight.mul_(20)  # keypoints far from each other
    frames, portrait = [blobs(seed) for seed in (1, 2, 3)], blobs(0)
    plain, drawn = drawn_as(replace(model.config, lid_gain=1.0), model, portrait, frames), []
    with torch.no_grad():
        source = model.observe(to_input(portrait))
        for frame in frames:
            driving = move_lids(model.keypoint_detector(to_input(frame)), source.keypoints, 2.0)
            image = model.animate(source, driving).image[0].clamp(-1, 1)
            drawn.append(((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    wanted, found = np.stack(drawn), drawn_as(model.config, model, portrait, frames)
    np.testing.assert_allclose(found.astype(int), wanted, atol=1)
    np.testing.assert_allclose(ModelRenderer(model)(portrait, np.stack(frames)).astype(int), wanted, atol=1)
    assert np.abs(plain.astype(int) - wanted).max() > 1


def drawn_as(config, model, portrait, frames):
    other = TalkingHead(config).eval()
    other.load_state_dict(model.state_dict())
    animator = Animator(other, AnimatorOptions(motion="absolute"))
    animator.observe(portrait)
    return np.stack(list(animator.animate(frames)))


def to_input(picture):
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_the_benchmark_measures_what_is_drawn(tmp_path, monkeypatch, capsys):
    """With a stand-in whose eyes are as open as the picture is bright."""
    tiny = preset("tiny")
    checkpoint.save(TalkingHead(replace(tiny, keypoints=replace(tiny.keypoints, count=12))), tmp_path / "weights")
    for number, name in enumerate(("a", "b")):
        write_video(tmp_path / "raw" / f"{name}.mp4", clip=number, frames=6, size=64)
    write_shard(tmp_path / "train-000.tar", tmp_path / "raw", {name: {"person": name} for name in "ab"})

    class Bright:
        def landmarks(self, image):
            points = np.zeros((478, 2), np.float32)
            points[263, 0] = 1
            points[[145, 374], 1] = image.mean() / 255
            box = Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
            return (FaceLandmarks(points_px=points, depth_px=points[:, 0], box=box, score=1.0),)

        def close(self):
            pass

    monkeypatch.setitem(lids["main"].__globals__, "open_analyzer", Bright)
    lids["main"](["--data", str(tmp_path), "--checkpoint", str(tmp_path / "weights"), "--gains", "1", "2"])
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["gain", "error"]
    assert [row.split()[0] for row in rows] == ["1.00", "2.00"]
    assert all(int(row.split()[-1]) >= 4 and float(row.split()[1]) < 1 for row in rows)


def test_what_the_benchmark_counts():
    """Half of the driver's closing and all of his opening."""
    seen = [lids["Seen"](0.4, 0.2, 0.3, 20.0), lids["Seen"](0.3, 0.4, 0.4, 30.0)]
    row = lids["summary"](seen)
    assert row.error == pytest.approx(0.05)
    assert row.slope == pytest.approx((0.2 * 0.1 + 0.1 * 0.1) / (0.2**2 + 0.1**2))
    assert (row.closing_error, row.closing_slope, row.psnr) == pytest.approx((0.1, 0.5, 25.0))
    assert lids["chosen"]([(1, 0.3), (4, 0.1), (7, 0.2), (10, 0.4)]) == [4, 7, 10]
    assert lids["chosen"]([(1, 0.3)]) == [1]
