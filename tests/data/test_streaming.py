import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clip_factory import clip_of, write_shard, write_video

from synhead.data.clips import open_clips
from synhead.data.config import ColourJitter, CropJitter, DataConfig
from synhead.data.dataset import LoadOptions, load_validation, open_pairs
from synhead.data.pairs import PairSampler, Share
from synhead.data.records import DataError
from synhead.data.store import build_store
from synhead.data.streaming import ShardSampler, StreamSampler


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for i, frames in enumerate((5, 8, 3, 6)):
        write_video(root / f"p{i % 2}#{i}.mp4", clip=3 * i, frames=frames)
    return root


def config(workers=0, **changes):
    jitter = {"colour": ColourJitter(probability=0.5), "crop": CropJitter(probability=0.5)}
    return DataConfig(**{"size": 32, "stream_workers": workers, "sampling": "balanced", **jitter, **changes})


def stack(pair):
    return torch.stack([pair.source, pair.driving])


@pytest.mark.parametrize("sampling", ["reference", "balanced"])
def test_a_stream_gives_the_pairs_of_the_store(folder, sampling):
    clips, settings = open_clips(folder).clips, config(sampling=sampling)
    sampler, stream = PairSampler(build_store(clips, 32), settings, seed=5), StreamSampler(clips, settings, seed=5)
    for _ in range(3):
        assert torch.equal(stack(stream.next_batch(4)), stack(sampler.next_batch(4)))
    assert stream.state_dict() == sampler.state_dict()


def test_workers_ranks_and_resume_do_not_change_the_stream(folder):
    clips = open_clips(folder).clips
    whole = StreamSampler(clips, config(), seed=2)
    expected = [stack(whole.next_batch(4)) for _ in range(3)]
    rank = StreamSampler(clips, config(workers=1), seed=2, share=Share(rank=1, world_size=2))
    assert torch.equal(stack(rank.next_batch(2)), expected[0][:, 2:])
    resumed = StreamSampler(clips, config(workers=2))
    resumed.load_state_dict(rank.state_dict())
    assert torch.equal(stack(resumed.next_batch(4)), expected[1])
    assert torch.equal(stack(resumed.next_batch(2)), expected[2][:, :2])


def test_unreadable_clips_are_replaced_and_counted(folder, tmp_path):
    for path in folder.glob("*.mp4"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "p2#bad.mp4").write_bytes(b"no video at all")
    clips = open_clips(tmp_path).clips
    first, second = StreamSampler(clips, config()), StreamSampler(clips, config(workers=1))
    batch = first.next_batch(24)
    assert torch.equal(stack(batch), stack(second.next_batch(24)))
    assert {skip.name for skip in first.skipped} == {"p2#bad"}
    assert first.skipped == second.skipped


def test_a_set_of_unreadable_clips_is_an_error(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    with pytest.raises(DataError, match=r"20 clips in a row.*bad"):
        StreamSampler(open_clips(tmp_path).clips, config()).next_batch(1)


def draw_many(stream):
    for _ in range(50):
        stream.next_batch(2)


KILLED = """
import contextlib, os, signal, sys, time
from pathlib import Path
import test_streaming as t
if __name__ == "__main__":
    stream = t.StreamSampler(t.open_clips(Path(sys.argv[1])).clips, t.config(workers=1))
    try:
        stream.next_batch(2)
        os.kill(stream._batches._workers[0].pid, signal.SIGKILL)
        t.draw_many(stream)
    except (t.DataError, RuntimeError) as error:
        message = str(error)
        with contextlib.suppress(RuntimeError):  # PyTorch's signal handler may raise once more
            time.sleep(1)
        print("caught", message)
"""


def test_a_killed_worker_is_an_error_not_a_hang(folder):
    # In a process of its own: PyTorch reports the death through a signal handler, at a moment of its choosing.
    command = [sys.executable, "-c", KILLED, str(folder)]
    where = Path(__file__).parent
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.startswith("caught"), done.stderr
    assert "worker" in done.stdout


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    keys = sorted(path.stem for path in folder.glob("*.mp4"))
    return [write_shard(root / f"s-{i}.tar", folder, {key: {} for key in keys[2 * i : 2 * i + 2]}) for i in range(2)]


@pytest.mark.parametrize("workers", [0, 1])
def test_shards_are_read_from_front_to_back(shards, workers):
    names = [shard.as_uri() for shard in shards]
    plain = config(workers=workers, colour=ColourJitter(), crop=CropJitter())
    sampler = ShardSampler(names, plain, seed=1)
    pair = sampler.next_batch(64)
    assert clip_of(pair.source) == clip_of(pair.driving)
    assert set(clip_of(pair.source)) == {0, 3, 6, 9}
    again = ShardSampler(names, plain, seed=1)
    assert torch.equal(stack(again.next_batch(64)), stack(pair))
    again.load_state_dict(sampler.state_dict())
    assert not torch.equal(stack(again.next_batch(64)), stack(pair))


def test_ranks_read_other_shards(shards):
    plain = config(colour=ColourJitter(), crop=CropJitter())
    names = [shard.as_uri() for shard in shards]
    for world in (2, 4):  # as many shards as ranks, and fewer
        ranks = [ShardSampler(names, plain, share=Share(rank=r, world_size=world)) for r in range(world)]
        assert len({clip for rank in ranks for clip in clip_of(rank.next_batch(16).source)}) == 4


def test_a_share_that_cannot_be_read_is_named_and_made_up_for(shards, tmp_path, caplog):
    """Each of two ranks has one shard, one of which is broken; both go on with what can be read."""
    (tmp_path / "bad.tar").write_bytes(b"not a tar" * 200)
    names = [(tmp_path / "bad.tar").as_uri(), shards[1].as_uri()]
    plain = config(colour=ColourJitter(), crop=CropJitter())
    ranks = [ShardSampler(names, plain, share=Share(rank=rank, world_size=2)) for rank in range(2)]
    assert [set(clip_of(rank.next_batch(16).source)) for rank in ranks] == [{3, 9}, {3, 9}]
    met = [{skip.name for skip in rank.skipped} for rank in ranks]
    assert names[0] in met[0] | met[1]
    assert caplog.text.count(f"skipped {names[0]}: shard broken") == sum(names[0] in each for each in met)


def test_more_ranks_than_clips(shards):
    """Those that none is left for read what others read."""
    ranks = [ShardSampler([shards[0].as_uri()], config(), share=Share(rank=r, world_size=3)) for r in range(3)]
    assert [len(rank.next_batch(2).source) for rank in ranks] == [2, 2, 2]


def test_unreadable_shards_are_an_error(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"not a tar" * 200)
    with pytest.raises(DataError, match=r"no clip can be read.*s\.tar"):
        ShardSampler([(tmp_path / "s.tar").as_uri()], config()).next_batch(1)


@pytest.mark.parametrize("placement", ["auto", "device", "host", "stream"])
def test_the_front_door_gives_one_stream_whatever_the_placement(folder, placement, tmp_path):
    options = LoadOptions(cache=tmp_path, workers=1)
    expected = PairSampler(build_store(open_clips(folder).clips, 32), config(), seed=1).next_batch(4)
    pairs = open_pairs(folder, config(placement=placement), seed=1, options=options)
    assert torch.equal(stack(pairs.next_batch(4)), stack(expected))


def test_the_front_door_takes_urls(shards):
    pattern = shards[0].as_uri().replace("s-0", "s-{0..1}")
    assert isinstance(open_pairs(pattern, config(placement="stream")), ShardSampler)
    assert isinstance(open_pairs(pattern, config()), PairSampler)


def test_validation_clips_come_from_their_split(folder, tmp_path):
    write_video(tmp_path / "test" / "p9#0.mp4", frames=3)
    assert load_validation(tmp_path, config()).table.people == ("p9",)
    with pytest.raises(DataError, match="no val split"):
        load_validation(folder, config())
