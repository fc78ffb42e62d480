from __future__ import annotations

import sys

import numpy as np
import pytest

from synhead.evaluation.folders import save_pictures
from synhead.evaluation.systems import CommandSystem, FolderSystem, RenderedSystem, ResultError
from synhead.evaluation.trials import Trial

COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)"


@pytest.fixture
def trial(make_trial):
    return make_trial("a", frames=3)


def test_rendered(trial):
    system = RenderedSystem("perfect", "by hand", lambda one: one.driving)
    assert system.frames(trial) is trial.driving


def test_folder_gives_frames_of_the_name_and_samples_whole_clips(trial, tmp_path):
    save_pictures(tmp_path / "a", trial.driving)
    np.testing.assert_array_equal(FolderSystem("x", tmp_path).frames(trial), trial.driving)
    sampled = Trial("a", trial.source, trial.driving[[0, 2]], (0, 2), clip_frames=3)
    np.testing.assert_array_equal(FolderSystem("x", tmp_path).frames(sampled), trial.driving[[0, 2]])
    assert FolderSystem("x", tmp_path, size=16).frames(trial).shape == (3, 16, 16, 3)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_folder_of_neither_the_clip_nor_its_sample_is_refused(make_trial, tmp_path, count):
    """Such as one that lacks the clip's last frame: its first frames are other moments than those sampled."""
    whole = make_trial("a", frames=5)
    save_pictures(tmp_path / "a", np.resize(whole.driving, (count, *whole.driving.shape[1:])))
    sampled = Trial("a", whole.source, whole.driving[[1, 4]], (1, 4), clip_frames=5)
    with pytest.raises(ResultError, match=f"{count} frames, neither all 5 of the clip nor the 2 that are measured"):
        FolderSystem("x", tmp_path).frames(sampled)
    assert len(FolderSystem("x", tmp_path).frames(whole)) == count


def test_folder_without_the_result(trial, tmp_path):
    with pytest.raises(ResultError, match="no result named a"):
        FolderSystem("x", tmp_path).frames(trial)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ResultError, match="make it again"):
        FolderSystem("x", tmp_path).frames(trial)


def test_command_gets_lossless_frames_and_gives_its_own(trial, tmp_path):
    template = f'{sys.executable} -c "{COPY}" {{driving_frames}} {{output_frames}}'
    system = CommandSystem("rival", template, tmp_path / "folder with spaces")
    for _ in range(2):
        np.testing.assert_array_equal(system.frames(trial), trial.driving)
    assert "command" in system.detail


def test_command_may_write_a_video(trial, tmp_path):
    code = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"
    system = CommandSystem("rival", f'{sys.executable} -c "{code}" {{driving}} {{output}}', tmp_path)
    assert system.frames(trial).shape == trial.driving.shape


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("no-such-program {source}", "could not be started"),
        (f"{sys.executable} -c \"raise SystemExit('out of luck')\"", "code 1: out of luck"),
        (f'{sys.executable} -c "pass"', "neither"),
    ],
)
def test_command_that_fails_says_why(trial, tmp_path, template, said):
    with pytest.raises(ResultError, match=said):
        CommandSystem("rival", template, tmp_path).frames(trial)
