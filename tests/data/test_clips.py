import json

import pytest
from clip_factory import picture, write_shard, write_video
from PIL import Image

from synhead.data.clips import DataError, open_clips
from synhead.data.errors import MediaError


def test_voxceleb_layout_of_videos_and_frame_folders(tmp_path):
    write_video(tmp_path / "train/id2#v#000#100.mp4", frames=2)
    folder = tmp_path / "train/id1#v#000#100.mp4"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(picture(0, i, 16)).save(folder / f"{i:07d}.png")
    (tmp_path / "train/id3#empty#0#1.mp4").mkdir()
    (tmp_path / "train/notes.txt").touch()
    write_video(tmp_path / "test/id9#v#000#100.mp4", frames=2)
    found = open_clips(tmp_path, "train")
    assert found.layout == "voxceleb"
    assert [(clip.name, clip.person) for clip in found] == [
        ("id1#v#000#100.mp4", "id1"),
        ("id2#v#000#100", "id2"),
    ]
    assert [skip.reason for skip in found.skipped] == ["a folder without PNG or JPEG frames"]
    assert [clip.person for clip in open_clips(tmp_path, "val")] == ["id9"]


def test_flat_folder_with_an_index(tmp_path):
    for name in ("b", "a", "c"):
        write_video(tmp_path / f"{name}.mp4", frames=2)
    lines = [
        json.dumps({"clip": "b", "person": "p1", "kind": "generated"}),
        json.dumps({"path": "a.mp4", "split": "train"}),
        json.dumps({"clip": "c", "split": "val", "person": "p2"}),
        json.dumps({"clip": "lost"}),
        "{broken",
        "[1]",
        "",
    ]
    (tmp_path / "index.jsonl").write_text("\n".join(lines))
    found = open_clips(tmp_path)
    assert [(clip.name, clip.person, clip.generated) for clip in found] == [("a", "a", False), ("b", "p1", True)]
    assert len(found.skipped) == 3
    assert "index.jsonl:4" in found.skipped[0].name
    assert [clip.name for clip in open_clips(tmp_path, "val")] == ["c"]


def test_flat_folder_without_an_index(tmp_path):
    write_video(tmp_path / "id1#x.mp4", frames=2)
    write_video(tmp_path / "solo.MP4", frames=2)
    assert [clip.person for clip in open_clips(tmp_path)] == ["id1", "solo"]
    with pytest.raises(DataError, match="no val split"):
        open_clips(tmp_path, "val")


def test_clips_of_one_name_in_several_folders_get_names_of_their_own(tmp_path):
    """All others keep theirs; what is listed twice is one clip."""
    root, outside = tmp_path / "set", tmp_path / "x.mp4"
    for place in ("a/x.mp4", "b/x.mp4", "b/y.mp4", "../x.mp4", "takes/t.1", "takes/t.2"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).touch()
    paths = ["a/x.mp4", "b/x.mp4", "b/y.mp4", "a/x.mp4", str(outside), "takes/t.1", "takes/t.2"]
    (root / "index.jsonl").write_text("".join(json.dumps({"path": path, "person": "p"}) + "\n" for path in paths))
    found = open_clips(root)
    names = {clip.path: clip.name for clip in found}
    assert len(set(names.values())) == len(names) == 6
    assert names[root / "b/y.mp4"] == "y"
    assert names[root / "a/x.mp4"] == "a__x"
    assert names[root / "b/x.mp4"] == "b__x"
    assert names[outside].endswith("__x")
    assert "/" not in names[outside]
    assert (names[root / "takes/t.1"], names[root / "takes/t.2"]) == ("takes__t.1", "takes__t.2")
    assert [clip.name for clip in found] == sorted(names.values())
    assert {clip.person for clip in found} == {"p"}
    assert [(skip.name, skip.reason) for skip in found.skipped] == [
        (f"{root / 'index.jsonl'}:4", "x.mp4 is in the index already")
    ]


def test_videos_of_one_name_and_two_suffixes(tmp_path):
    for name in ("x.mov", "x.mp4", "y.mp4"):
        (tmp_path / name).touch()
    assert [clip.name for clip in open_clips(tmp_path)] == ["x.mov", "x.mp4", "y"]


def test_names_that_stay_equal_are_refused(tmp_path):
    (tmp_path / "a__x").mkdir()
    for place in ("a/x.mp4", "b/x.mp4", "a__x/z.mp4", "a__x.mp4"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    lines = [json.dumps({"path": path}) for path in ("a/x.mp4", "b/x.mp4", "a__x.mp4")]
    (tmp_path / "index.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"two clips have the name a__x\.mp4, in .*a/x\.mp4 and .*a__x\.mp4"):
        open_clips(tmp_path)


def test_folder_of_shards(tmp_path):
    for name in ("x", "y"):
        write_video(tmp_path / f"{name}.mp4", frames=2)
    write_shard(tmp_path / "train-000.tar", tmp_path, {"y": {"person": "p1", "kind": "real"}})
    write_shard(tmp_path / "train-001.tar", tmp_path, {"x": {"kind": "generated"}})
    found = open_clips(tmp_path)
    assert found.layout == "shards"
    assert [(clip.name, clip.person, clip.generated) for clip in found] == [("x", "x", True), ("y", "p1", False)]
    assert found.clips[0].video().read() == (tmp_path / "x.mp4").read_bytes()
    assert len(open_clips(f"{tmp_path}/train-*.tar")) == len(open_clips(f"{tmp_path}/train-{{000..001}}.tar")) == 2


def test_nothing_to_train_on_is_said_plainly(tmp_path):
    assert issubclass(DataError, MediaError)
    with pytest.raises(DataError, match="no such folder"):
        open_clips(tmp_path / "missing")
    with pytest.raises(DataError, match=r"no clip of split 'train'.*synhead prepare"):
        open_clips(tmp_path)
    (tmp_path / "index.jsonl").write_text('{"clip": "a", "split": "train"}\n')  # as `prepare` leaves it by default
    with pytest.raises(DataError, match=r"no clip of split 'val'; hold persons out.*--validation-share"):
        open_clips(tmp_path, "val")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="1 skipped, first: a folder without"):
        open_clips(tmp_path)
    with pytest.raises(DataError, match="no such shard"):
        open_clips(tmp_path / "none-*.tar")
