import http.server
import io
import tarfile
import threading
from functools import partial
from pathlib import Path

import pytest
from clip_factory import clip_of, write_shard, write_video

from synhead.data.clips import open_clips
from synhead.data.config import DataConfig
from synhead.data.dataset import open_pairs
from synhead.data.decode import decode_clip
from synhead.data.records import DataError
from synhead.data.shards import expand_braces, is_shard_pattern, list_shards, read_shards
from synhead.data.streaming import ShardSampler


@pytest.fixture
def shard(tmp_path):
    for name in ("a", "b", "c"):
        write_video(tmp_path / f"{name}.mp4", clip=ord(name) - ord("a"), frames=4)
    records = {name: {"person": f"p{name}"} for name in "abc"}
    return write_shard(tmp_path / "set-0.tar", tmp_path, records)


def test_brace_lists():
    assert expand_braces("s-{08..10}.tar") == ["s-08.tar", "s-09.tar", "s-10.tar"]
    assert expand_braces("{a,b}-{1..2}") == ["a-1", "a-2", "b-1", "b-2"]
    assert expand_braces("plain") == ["plain"]
    assert is_shard_pattern("https://host/{000..003}.tar")
    assert is_shard_pattern("x/s-{0,1}.tar")
    assert not is_shard_pattern("folder")
    assert list_shards("https://host/{1..2}.tar") == ["https://host/1.tar", "https://host/2.tar"]


def test_a_url_gives_the_clips_of_the_file(shard):
    local, remote = open_clips(shard), open_clips(shard.as_uri())
    assert [clip.person for clip in remote] == ["pa", "pb", "pc"]
    for here, there in zip(local, remote, strict=True):
        assert here.span is not None
        assert there.data is not None
        assert (decode_clip(here, 32) == decode_clip(there, 32)).all()


@pytest.mark.parametrize("remote", [False, True])
def test_a_shard_cut_short_gives_the_clips_before_the_cut(shard, remote):
    third = open_clips(shard).clips[2]
    content = shard.read_bytes()
    shard.write_bytes(content[: third.span[0] + third.span[1] // 2])
    found = read_shards([shard.as_uri() if remote else str(shard)])
    assert [clip.name for clip in found] == ["a", "b"]
    assert "cut short" in found.skipped[0].reason


def test_one_bad_shard_does_not_stop_the_others(shard, tmp_path):
    (tmp_path / "set-1.tar").write_bytes(b"not a tar" * 200)
    found = open_clips(f"{tmp_path}/set-*.tar")
    assert len(found) == 3
    assert [skip.name for skip in found.skipped] == [str(tmp_path / "set-1.tar")]
    gone = read_shards([shard.as_uri(), (tmp_path / "gone.tar").as_uri()])
    assert len(gone) == 3
    assert len(gone.skipped) == 1


def write_keys(path, *keys):
    """A tar of one small file a key, which nobody decodes."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key in keys:
            entry = tarfile.TarInfo(f"{key}.mp4")
            entry.size = len(key)
            tar.addfile(entry, io.BytesIO(key.encode()))
    return str(path)


@pytest.mark.parametrize("remote", [False, True])
def test_equal_keys_of_several_folders_or_shards_get_names_of_their_own(tmp_path, remote):
    one = write_keys(tmp_path / "one/s.0.tar", "a/x", "b/x", "y", "z", "w")
    two = write_keys(tmp_path / "two/s.1.tar", "y", "v")
    three = write_keys(tmp_path / "two/s.0.tar", "z", "w")
    shards = [Path(shard).as_uri() if remote else shard for shard in (one, two, three)]
    found = read_shards(shards)
    named = {clip.name: clip.video().read().decode() for clip in found}
    assert named == {
        "a__x": "a/x",
        "b__x": "b/x",
        "v": "v",
        "s.0__y": "y",
        "s.1__y": "y",
        "one__s.0__z": "z",
        "two__s.0__z": "z",
        "one__s.0__w": "w",
        "two__s.0__w": "w",
    }
    assert [clip.name for clip in found] == sorted(named)
    assert len(found) == 9
    assert [(skip.name, skip.reason) for skip in read_shards([shards[1]] * 2).skipped] == [
        (f"{shards[1]}:{key}", "there twice; the first is taken") for key in ("y", "v")
    ]
    (tmp_path / "more").mkdir()
    other = write_keys(tmp_path / "more/one/s.0.tar", "z")
    with pytest.raises(DataError, match=r"two clips have the name one__s\.0__z, in .*one/s\.0\.tar and .*more/one"):
        read_shards([one, other])


def test_a_record_that_is_not_json_keeps_the_clip(tmp_path):
    write_video(tmp_path / "id7#x.mp4", frames=2)
    shard = write_shard(tmp_path / "s.tar", tmp_path, {"id7#x": {"person": "p"}})
    shard.write_bytes(shard.read_bytes().replace(b'{"person": "p"}', b'{"person": "p",'))
    found = open_clips(shard)
    assert [clip.person for clip in found] == ["id7"]
    assert "not JSON" in found.skipped[0].reason


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, sends half of ``cut.tar``, and says nothing."""

    def log_message(self, *_: object) -> None:
        pass

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.path == "/cut.tar" else content)


@pytest.fixture
def server(tmp_path):
    for i in range(4):
        write_video(tmp_path / f"p{i}#0.mp4", clip=3 * i, frames=4)
    for n in range(2):
        write_shard(tmp_path / f"set-{n}.tar", tmp_path, {f"p{2 * n + i}#0": {"person": f"who{i}"} for i in range(2)})
    (tmp_path / "cut.tar").write_bytes((tmp_path / "set-0.tar").read_bytes())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()
        thread.join()


def test_shards_behind_http(server):
    found = open_clips(f"{server}/set-{{0..1}}.tar")
    assert [clip.name for clip in found] == ["p0#0", "p1#0", "p2#0", "p3#0"]
    assert {clip.person for clip in found} == {"who0", "who1"}
    assert decode_clip(found.clips[2], 32).shape == (4, 32, 32, 3)


def test_shards_streamed_over_http(server):
    settings = DataConfig(size=32, placement="stream", stream_workers=0)
    pairs = open_pairs(f"{server}/set-{{0..1}}.tar", settings)
    assert isinstance(pairs, ShardSampler)
    assert set(clip_of(pairs.next_batch(64).source)) == {0, 3, 6, 9}


def test_a_transfer_that_breaks_off_and_a_missing_shard_are_named(server):
    found = open_clips(f"{server}/{{cut,set-1,nowhere}}.tar")
    assert [clip.name for clip in found][-2:] == ["p2#0", "p3#0"]
    reasons = {skip.name.rsplit("/", 1)[1]: skip.reason for skip in found.skipped}
    assert set(reasons) == {"cut.tar", "nowhere.tar"}
    assert "404" in reasons["nowhere.tar"]
