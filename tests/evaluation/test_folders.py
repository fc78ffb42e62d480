from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from synhead.data.errors import MediaError
from synhead.data.records import Skipped
from synhead.data.video import VideoWriter
from synhead.evaluation.folders import list_videos, read_video, reference_trials, save_pictures


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, frames):
    save_pictures(tmp_path / "b", frames)
    with VideoWriter(tmp_path / "a.mp4", rate=Fraction(25), size=(32, 32)) as writer:
        for frame in frames:
            writer.write(frame)
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_pictures_are_lossless_and_videos_are_found(folder, frames):
    found = list_videos(folder)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(read_video(found["b"]), frames)
    assert read_video(found["a"], size=16).shape == (4, 16, 16, 3)


def test_pictures_of_a_longer_result_do_not_stay(tmp_path, frames):
    save_pictures(tmp_path, frames)
    (tmp_path / "note.png").write_bytes(b"mine")
    save_pictures(tmp_path, frames[:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.png", "000001.png", "note.png"]


def test_unpadded_pictures_of_a_rival_come_by_number(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    (tmp_path / "clip").mkdir()
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(tmp_path / "clip" / f"frame{number}.png")
    np.testing.assert_array_equal(read_video(list_videos(tmp_path)["clip"]), frames)


def test_two_of_one_name_are_refused(folder, frames):
    save_pictures(folder / "a", frames)
    with pytest.raises(MediaError, match="are both a: which is meant"):
        list_videos(folder)


def test_nothing_to_read(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(MediaError):
            list_videos(place)
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match="make it again"):
        read_video(tmp_path / "x.mp4")


def test_source_is_the_first_frame_or_the_one_named(folder, frames, tmp_path):
    references = {"b": folder / "b"}
    (trial,) = reference_trials(references, None, None)
    np.testing.assert_array_equal(trial.source, frames[0])
    assert trial.indices == (0, 1, 2, 3)
    save_pictures(tmp_path / "sources" / "b", frames[2:])
    (trial,) = reference_trials(references, tmp_path / "sources", None)
    np.testing.assert_array_equal(trial.source, frames[2])
    found = list(reference_trials({"a": folder / "a.mp4"}, tmp_path / "sources", None))
    assert isinstance(found[0], Skipped)
    assert "no source named a" in found[0].reason
