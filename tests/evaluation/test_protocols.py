from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synhead.data.clips import DataError, open_clips
from synhead.data.records import Skipped
from synhead.evaluation.folders import save_pictures
from synhead.evaluation.protocols import (
    Pair,
    Sampling,
    default_pairs,
    expected_frames,
    read_pairs,
    read_video_list,
    reconstruction,
    reenactment,
    select,
)

SIZE = 32


@pytest.fixture
def clips(tmp_path):
    for seed, name in enumerate(("ann#1.mp4", "bob#1.mp4", "cyd#1.mp4")):
        frames = np.random.default_rng(seed).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
        save_pictures(tmp_path / "val" / name, frames)
    return open_clips(tmp_path, "val").clips


def test_published_sampling_takes_every_frame_the_first_too(clips):
    trials = list(reconstruction(clips, Sampling(size=SIZE)))
    assert [trial.name for trial in trials] == ["ann#1.mp4", "bob#1.mp4", "cyd#1.mp4"]
    assert trials[0].indices == tuple(range(6))
    np.testing.assert_array_equal(trials[0].source, trials[0].driving[0])
    assert trials[0].same_identity
    assert expected_frames(clips, Sampling(size=SIZE)) == 18


def test_sampled_frames_begin_with_the_second(clips):
    trial = next(iter(reconstruction(clips, Sampling(frames=3, size=SIZE))))
    assert (trial.indices, trial.clip_frames) == ((1, 3, 5), 6)
    assert expected_frames(clips, Sampling(frames=3, size=SIZE)) == 9


def test_unreadable_clips_keep_their_place(clips):
    (clips[1].path / "000003.png").write_bytes(b"no picture")
    found = list(reconstruction([*clips, Skipped("dan", "gone")], Sampling(size=SIZE)))
    assert [type(one).__name__ for one in found] == ["Trial", "Skipped", "Trial", "Skipped"]
    assert found[1].name == "bob#1.mp4"


def test_reenactment_takes_source_and_reference_frames(clips):
    pairs = (Pair("ann#1.mp4", "bob#1.mp4", 2, 4), Pair("ann#1.mp4", "nobody"), Pair("ann#1.mp4", "cyd#1.mp4", 0, 6))
    trial, missing, beyond = reenactment(pairs, clips, Sampling(frames=2, size=SIZE))
    whole = {one.name: one for one in reconstruction(clips, Sampling(size=SIZE))}
    assert trial.name == "ann#1.mp4--bob#1.mp4"
    np.testing.assert_array_equal(trial.source, whole["ann#1.mp4"].driving[2])
    np.testing.assert_array_equal(trial.reference, whole["bob#1.mp4"].driving[4])
    assert not trial.same_identity
    assert missing == Skipped("ann#1.mp4--nobody", "no clip named nobody in the data")
    assert "not both in the clips" in beyond.reason


def test_default_pairs_are_fixed_and_of_two_clips(clips):
    assert default_pairs(clips) == default_pairs(clips)
    assert all(pair.source != pair.driving for pair in default_pairs(clips))
    assert default_pairs(clips[:1]) == ()
    assert default_pairs([replace(clip, person="ann") for clip in clips]) == ()
    two = [replace(clip, person=clip.person if clip is clips[1] else "ann") for clip in clips]
    assert [pair.name.replace("#1.mp4", "") for pair in default_pairs(two)] == ["ann--bob", "bob--cyd", "cyd--bob"]


def test_lists(tmp_path, clips):
    (tmp_path / "list.csv").write_text("video,note\nbob#1,a\nann#1.mp4,b\nzoe#1,c\n")
    names = read_video_list(tmp_path / "list.csv")
    assert names == ("bob#1", "ann#1.mp4", "zoe#1")
    found = select(clips, names)
    assert found[1] == clips[0]
    assert found[2] == Skipped("zoe#1", "no clip of that name in the data")
    (tmp_path / "pairs.csv").write_text("distance,source,driving,reference_frame\n3.5,ann#1.mp4,bob#1.mp4,4\n1,a,b,\n")
    assert read_pairs(tmp_path / "pairs.csv") == (Pair("ann#1.mp4", "bob#1.mp4", 0, 4), Pair("a", "b"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("driving\nb\n", "no column source"),
        ("source,driving\na,\n", ":2: source or driving is empty"),
        ("source,driving,source_frame\na,b,-1\n", "'-1' is no frame number"),
        ("source,driving\n", "names nothing"),
        ("source,driving,source_frame\na,b,0\nb,a,0\na.mp4,b,5\n", ":4: a--b is in line 2 already"),
    ],
)
def test_bad_lists_are_refused(tmp_path, text, said):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_pairs(tmp_path / "pairs.csv")


def test_a_video_is_listed_once(tmp_path):
    (tmp_path / "list.csv").write_text("video\na\nb\na.mp4\n")
    with pytest.raises(DataError, match=":4: a is in line 2 already"):
        read_video_list(tmp_path / "list.csv")


def test_lists_from_spreadsheets(tmp_path):
    """A mark of UTF-8 is no part of the first name; other encodings, and what is no csv, are told."""
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xef\xbb\xbfvideo,note\na,1\n")
    assert read_video_list(path) == ("a",)
    for content in (b"video\nsp\xe4\n", b"video\n" + b"a" * 200_000):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"list\.csv is no csv file in UTF-8 .*save it as one"):
            read_video_list(path)
    path.write_bytes(b"video;note\na;1\n")
    with pytest.raises(DataError, match="no column video; the first line names them, with commas: video"):
        read_video_list(path)
