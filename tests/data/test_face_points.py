from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clip_factory import store_of, write_video

from synhead.data.augment import augment, crop_matrices
from synhead.data.config import CropJitter, DataConfig
from synhead.data.dataset import LoadOptions, open_pairs
from synhead.data.draws import uniforms
from synhead.data.face_points import MESH, load_points, move_points, save_points
from synhead.data.pairs import PairSampler
from synhead.data.records import DataError
from synhead.types import FacePoint

STORE = store_of((5, 4), "ab")
LENGTHS = {"clip0": 5, "clip1": 4}


def some_points(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.uniform(0.2, 0.8, (frames, len(FacePoint), 2)) for name, frames in LENGTHS.items()}


def test_saved_and_loaded(tmp_path: Path) -> None:
    points = some_points()
    points["clip1"][2] = np.nan
    save_points(points, tmp_path / "points.npz")
    found = load_points(tmp_path / "points.npz", STORE)
    assert found.shape == (9, len(MESH), 2)
    assert torch.isnan(found[7]).all()
    expected = 2 * np.concatenate([points["clip0"], points["clip1"]]) - 1
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_file_of_another_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.npz"
    with pytest.raises(DataError, match=r"is no file of landmarks .*benchmarks/landmarks\.py"):
        load_points(path, STORE)
    save_points({"clip0": some_points()["clip0"]}, path)
    with pytest.raises(DataError, match=r"no landmarks of a clip .*clip1"):
        load_points(path, STORE)
    save_points(some_points() | {"clip1": some_points()["clip0"]}, path)
    with pytest.raises(DataError, match="clip1 has shape"):
        load_points(path, STORE)
    path.write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match="is no file of landmarks"):
        load_points(path, STORE)


def test_points_move_with_the_picture() -> None:
    """A bright dot at the nose is where the moved point says, through mirror, crop and rotation."""
    count, size = 8, 64
    random = np.random.default_rng(0)
    place = random.uniform(0.35, 0.65, (count, 2))
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    distance = (columns - size * place[:, :1, None]) ** 2 + (rows - size * place[:, 1:, None]) ** 2
    frames = torch.from_numpy((250 * np.exp(-distance / 8)).astype(np.uint8))[..., None].expand(-1, -1, -1, 3)
    flip = torch.arange(count) % 2 == 0
    jitter = CropJitter(probability=0.7, min_scale=0.8, rotation_deg=20.0)
    crop = torch.from_numpy(crop_matrices(uniforms(0, np.arange(count, dtype=np.uint64)), jitter))
    image = augment(frames.contiguous(), flip, None, crop)[:, 0] + 1
    mass = image / image.sum((1, 2), keepdim=True)
    found = torch.stack([(mass * torch.from_numpy(axis)).sum((1, 2)) for axis in (columns, rows)], 1)
    points = torch.zeros(count, len(FacePoint), 2)
    points[:, FacePoint.NOSE] = torch.from_numpy(2 * place - 1).float()
    moved = (move_points(points, flip, crop)[:, FacePoint.NOSE] + 1) / 2 * size
    torch.testing.assert_close(moved, found.float(), atol=0.4, rtol=0)


def test_left_and_right_change_names_in_a_mirrored_picture() -> None:
    points = torch.rand(1, len(FacePoint), 2)
    mirrored = move_points(points, torch.tensor([True]), None)
    for name, other in (("MOUTH_LEFT", "MOUTH_RIGHT"), ("LEFT_UPPER_LID", "RIGHT_UPPER_LID"), ("CHIN", "CHIN")):
        torch.testing.assert_close(
            mirrored[0, FacePoint[name]], points[0, FacePoint[other]] * torch.tensor([-1.0, 1.0])
        )


def test_pairs_carry_the_points_of_their_frames(tmp_path: Path) -> None:
    save_points(some_points(), tmp_path / "points.npz")
    points = load_points(tmp_path / "points.npz", STORE)
    config = DataConfig(sampling="balanced", flip_probability=0.0)
    pair = PairSampler(STORE, config, points=points).next_batch(50)
    plain = PairSampler(STORE, config).next_batch(50)
    assert torch.equal(pair.driving, plain.driving)
    assert plain.driving_points is None
    assert pair.driving_points is not None
    frames = STORE.frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    for image, found in zip(pair.driving, pair.driving_points, strict=True):
        (number,) = [n for n, frame in enumerate(frames) if torch.equal(frame, image)]
        assert torch.equal(found, points[number])


def test_landmarks_need_frames_in_memory(tmp_path: Path) -> None:
    write_video(tmp_path / "p0#0.mp4")
    options = LoadOptions(points=tmp_path / "points.npz", workers=1)
    with pytest.raises(DataError, match=r"data\.placement=host"):
        open_pairs(tmp_path, DataConfig(size=32, placement="stream"), options=options)
