"""Head pose against scipy's rotations, blendshape error by hand, and a landmarker of our own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synhead.evaluation.gauges import face_task
from synhead.evaluation.gauges.face_task import FaceState, FaceTaskGauge, euler_xyz_deg, open_face_task, state_errors
from synhead.evaluation.weight_files import FACE_TASK, UnavailableError, WeightFolder

CPU = torch.device("cpu")


def matrix_of(x, y, z):
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.from_euler("xyz", (x, y, z), degrees=True).as_matrix()
    matrix[:3, 3] = (1, 2, -40)
    return matrix


def state_of(picture):
    if not picture.any():
        return None
    return FaceState(matrix_of(*(picture[0, 0] / 8.0)), picture.reshape(-1)[:52] / 255.0)


@pytest.mark.parametrize("angles", [(0, 0, 0), (12, -30, 5), (-20, 44, -60)])
def test_angles_are_scipys(angles):
    assert euler_xyz_deg(matrix_of(*angles)) == pytest.approx(angles, abs=1e-6)


def test_errors_by_hand():
    first = FaceState(matrix_of(3, 0, -6), np.zeros(52))
    second = FaceState(matrix_of(0, 0, 0), np.full(52, 0.25))
    assert state_errors(first, second) == pytest.approx((3, 0.25), abs=1e-6)


def test_perfect_skipped_and_freed(make_trial):
    freed = []
    gauge = FaceTaskGauge(state_of, lambda: freed.append(True))
    trial = make_trial()
    perfect = gauge.measure(trial, trial.driving).values
    assert perfect == {"pose": (0, 0, 0), "expression": (0, 0, 0)}
    generated = trial.driving.copy()
    generated[0] = 0
    assert gauge.measure(trial, generated).skips[0].frame == 0
    gauge.close()
    assert freed == [True]


def test_missing_and_wrong_files(tmp_path, monkeypatch):
    with pytest.raises(UnavailableError, match=FACE_TASK.sha256):
        open_face_task(WeightFolder(tmp_path), CPU)
    (tmp_path / FACE_TASK.name).write_bytes(b"no model")
    with pytest.raises(UnavailableError, match="instead of"):
        open_face_task(WeightFolder(tmp_path), CPU)
    pytest.importorskip("mediapipe")
    monkeypatch.setattr(face_task, "FACE_TASK", replace(FACE_TASK, sha256=""))
    with pytest.raises(UnavailableError, match="no face landmarker"):
        open_face_task(WeightFolder(tmp_path), CPU)
