import numpy as np
import pytest
import torch
from clip_factory import picture, write_video
from PIL import Image
from video_factory import set_display_matrix, write_clip

from synhead.data import cache as cache_module
from synhead.data.cache import fingerprint, open_store
from synhead.data.clips import open_clips
from synhead.data.decode import count_frames, decode_clip, decode_frames
from synhead.data.records import Clip, DataError, frame_paths
from synhead.data.store import build_store, estimate_bytes
from synhead.data.video import read_frames


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "clips"
    for i, frames in enumerate((5, 8, 3)):
        write_video(root / f"p{i % 2}#{i}.mp4", clip=i, frames=frames)
    return root


def test_frames_lie_in_the_order_of_the_clips(folder):
    seen = []
    store = build_store(
        open_clips(folder).clips, 32, workers=2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert store.table.names == ("p0#0", "p0#2", "p1#1")
    assert store.table.person.tolist() == [0, 0, 1]
    assert store.lengths.tolist() == [5, 3, 8]
    assert store.bytes == 16 * 32 * 32 * 3
    expected = np.stack([picture(1, frame, 32) for frame in range(8)]).astype(int)
    assert np.abs(store.frames[8:].numpy().astype(int) - expected)[..., :2].mean() < 4


def test_unreadable_clips_are_skipped_and_named(folder):
    (folder / "broken.mp4").write_bytes(b"no video at all")
    (folder / "empty.mp4").touch()
    whole = (folder / "p0#0.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write_video(folder / "still.mp4", frames=1)
    write_video(folder / "wide.mp4", frames=2, size=32, width=64)
    store = build_store(open_clips(folder).clips, 32, workers=2)
    reasons = {skip.name: skip.reason for skip in store.skipped}
    assert set(reasons) == {"broken", "empty", "cut", "still", "wide"}
    assert reasons["still"] == "1 frame(s); a clip needs two"
    assert "not square" in reasons["wide"]
    assert len(store.table.names) == 3


def test_no_readable_clip_is_an_error(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(DataError, match="none of 1 clips can be decoded; the first, broken"):
        build_store(open_clips(tmp_path).clips, 32)


@pytest.mark.parametrize("size", [16, 32, 48])
def test_single_frames_are_those_of_the_whole_clip(tmp_path, size):
    clip = Clip(name="x", person="x", path=write_video(tmp_path / "x.mp4", frames=100))
    whole = decode_clip(clip, size)
    assert count_frames(clip) == len(whole) == 100
    for wanted in ((0, 99), (99, 0), (13, 14), (50, 50), (11, 96)):
        np.testing.assert_array_equal(decode_frames(clip, wanted, size), whole[list(wanted)])


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1), (-1, 0, 0, 1)])
def test_turned_videos_are_upright_as_in_inference(tmp_path, matrix):
    path = set_display_matrix(write_clip(tmp_path / "x.mp4", 3), matrix)
    shown = np.stack([frame.image for frame in read_frames(path)])
    clip = Clip(name="x", person="x", path=path)
    np.testing.assert_array_equal(decode_clip(clip, 64), shown)
    np.testing.assert_array_equal(decode_frames(clip, (2, 0), 64), shown[[2, 0]])


def test_frame_folders(tmp_path):
    for i in range(3):
        Image.fromarray(picture(2, i, 24)).save(tmp_path / f"{i:03d}.png")
    clip = Clip(name="x", person="x", path=tmp_path)
    np.testing.assert_array_equal(decode_clip(clip, 24), np.stack([picture(2, i, 24) for i in range(3)]))
    assert count_frames(clip) == 3
    assert decode_frames(clip, (2, 0), 16).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("name", ["{}.png", "frame{}.PNG", "take2_{}_of_12.jpg"])
def test_frames_with_unpadded_numbers_come_in_their_order(tmp_path, name):
    for i in range(1, 13):
        (tmp_path / name.format(i)).touch()
    assert [path.name for path in frame_paths(tmp_path)] == [name.format(i) for i in range(1, 13)]


def test_frames_cached_in_the_order_of_text_are_decoded_again(tmp_path, monkeypatch):
    """Only where that order was another one: sets with padded numbers keep their caches."""
    for kind in ("{}", "{:03d}"):
        folder = tmp_path / kind
        folder.mkdir()
        for i in range(8, 12):
            Image.fromarray(picture(0, i, 16)).save(folder / f"{kind.format(i)}.png")
    unpadded, padded = ((Clip(name="x", person="x", path=tmp_path / kind),) for kind in ("{}", "{:03d}"))
    assert decode_clip(unpadded[0], 16)[:, 0, 0, 1].tolist() == [10 * i for i in range(8, 12)]
    now = fingerprint(unpadded, 16), fingerprint(padded, 16)
    monkeypatch.setattr(cache_module, "_stamp", lambda path: path.stat().st_mtime_ns)
    once = fingerprint(unpadded, 16), fingerprint(padded, 16)
    assert now[0] != once[0]
    assert now[1] == once[1]


def test_the_size_of_a_store_is_estimated(folder):
    assert estimate_bytes(open_clips(folder).clips, 32) == 16 * 32 * 32 * 3


def test_the_cache_gives_the_same_store_without_decoding(folder, tmp_path, monkeypatch):
    clips = (*open_clips(folder).clips, Clip(name="gone", person="p", path=tmp_path / "gone.mp4"))
    first = open_store(clips, 32, cache=tmp_path / "cache")
    monkeypatch.setattr(cache_module, "build_store", lambda *_, **__: pytest.fail("decoded again"))
    second = open_store(clips, 32, cache=tmp_path / "cache")
    assert torch.equal(first.frames, second.frames)
    assert first.offsets.tolist() == second.offsets.tolist()
    assert first.table.names == second.table.names
    assert first.table.person.tolist() == second.table.person.tolist()
    assert [skip.name for skip in second.skipped] == ["gone"]
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_other_clips_or_sizes_are_cached_apart(folder):
    clips = open_clips(folder).clips
    assert len({fingerprint(clips, 32), fingerprint(clips, 64), fingerprint(clips[1:], 32)}) == 3


@pytest.mark.parametrize("wrong", ["truncated", "garbage"])
def test_a_broken_cache_is_decoded_again(folder, tmp_path, wrong):
    clips = open_clips(folder).clips
    first = open_store(clips, 32, cache=tmp_path / "cache")
    expected = first.frames.clone()
    kept = tmp_path / "cache" / fingerprint(clips, 32)
    if wrong == "truncated":
        content = (kept / "frames.npy").read_bytes()
        (kept / "frames.npy").unlink()
        (kept / "frames.npy").write_bytes(content[: len(content) // 2])
    else:
        (kept / "clips.json").write_text("{")
    assert torch.equal(open_store(clips, 32, cache=tmp_path / "cache").frames, expected)


def test_a_full_disk_costs_only_the_cache(folder, tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.np, "save", full)
    store = open_store(open_clips(folder).clips, 32, cache=tmp_path / "cache")
    assert len(store.frames) == 16
    assert "not kept" in caplog.text
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
