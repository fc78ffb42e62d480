import logging

import pytest
import torch
from clip_factory import clip_of, frame_of, mirrored, store_of

from synhead.data.config import ColourJitter, CropJitter, DataConfig
from synhead.data.pairs import BatchFormat, PairSampler, Share, validation_clips
from synhead.data.records import DataError

STORE = store_of((5, 9, 12, 7, 3, 20), "aaabbc")
FULL = DataConfig(
    sampling="balanced", colour=ColourJitter(probability=0.5), crop=CropJitter(probability=0.5, rotation_deg=5.0)
)


def drawn(sampler: PairSampler, batches: int, batch: int) -> torch.Tensor:
    pairs = [sampler.next_batch(batch) for _ in range(batches)]
    return torch.cat([torch.stack([pair.source, pair.driving], 1) for pair in pairs])


@pytest.mark.parametrize("sampling", ["reference", "balanced"])
def test_a_pair_is_two_frames_of_one_clip_mirrored_alike(sampling):
    pair = PairSampler(STORE, DataConfig(sampling=sampling)).next_batch(1000)
    assert pair.source.shape == (1000, 3, 16, 16)
    assert clip_of(pair.source) == clip_of(pair.driving)
    assert set(clip_of(pair.source)) == set(range(6))
    flips = mirrored(pair.source)
    assert flips == mirrored(pair.driving)
    assert sum(flips) / 1000 == pytest.approx(0.5, abs=0.06)
    for clip, *frames in zip(clip_of(pair.source), frame_of(pair.source), frame_of(pair.driving), strict=True):
        assert max(frames) < STORE.lengths[clip]


def test_time_runs_backward_in_half_of_the_pairs():
    pair = PairSampler(STORE, DataConfig(sampling="balanced")).next_batch(1000)
    backward = [a > b for a, b in zip(frame_of(pair.source), frame_of(pair.driving), strict=True)]
    assert sum(backward) / 1000 == pytest.approx(0.5, abs=0.06)


def test_resume_gives_the_pairs_of_the_unbroken_run():
    unbroken = drawn(PairSampler(STORE, FULL, seed=7), 6, 5)
    first = PairSampler(STORE, FULL, seed=7)
    drawn(first, 2, 5)
    resumed = PairSampler(STORE, FULL, seed=0)
    resumed.load_state_dict(first.state_dict())
    torch.testing.assert_close(drawn(resumed, 4, 5), unbroken[10:], rtol=0, atol=0)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_out_the_global_batch(world):
    whole = drawn(PairSampler(STORE, FULL, seed=3), 3, 8)
    ranks = [PairSampler(STORE, FULL, seed=3, share=Share(rank=r, world_size=world)) for r in range(world)]
    parts = [drawn(rank, 3, 8 // world).unflatten(0, (3, -1)) for rank in ranks]
    torch.testing.assert_close(torch.cat(parts, 1).flatten(0, 1), whole, rtol=0, atol=0)
    assert {rank.state_dict()["samples"] for rank in ranks} == {24}


def test_resume_with_another_world_size():
    two = [PairSampler(STORE, FULL, seed=3, share=Share(rank=r, world_size=2)) for r in range(2)]
    for sampler in two:
        drawn(sampler, 2, 4)
    one = PairSampler(STORE, FULL)
    one.load_state_dict(two[1].state_dict())
    torch.testing.assert_close(drawn(one, 1, 8), drawn(PairSampler(STORE, FULL, seed=3), 3, 8)[16:], rtol=0, atol=0)


def test_seeds_differ():
    assert not torch.equal(drawn(PairSampler(STORE, FULL), 1, 8), drawn(PairSampler(STORE, FULL, seed=1), 1, 8))


def test_batches_come_as_wanted():
    form = BatchFormat(dtype=torch.bfloat16, channels_last=True)
    pair = PairSampler(STORE, FULL, form=form).next_batch(4)
    for image in (pair.source, pair.driving):
        assert image.dtype == torch.bfloat16
        assert image.is_contiguous(memory_format=torch.channels_last)


def test_other_clips_than_at_the_interruption_are_told(caplog):
    state = PairSampler(store_of((4, 4), "ab"), DataConfig()).state_dict()
    with caplog.at_level(logging.WARNING):
        PairSampler(STORE, DataConfig()).load_state_dict(state)
    assert "not those of the interrupted run" in caplog.text


def test_a_rank_out_of_the_world_is_refused():
    with pytest.raises(DataError, match="rank 2"):
        Share(rank=2, world_size=2)


def test_validation_takes_the_first_frame_and_spreads_the_others():
    clips = list(validation_clips(STORE, frames_per_clip=4))
    assert len(clips) == len(STORE.table.names)
    source, driving = clips[1]
    assert frame_of(source) == [0]
    assert frame_of(driving) == [1, 3, 6, 8]
    assert frame_of(clips[4][1]) == [1, 2]
    for (_, driving), (_, again) in zip(clips, validation_clips(STORE, frames_per_clip=4), strict=True):
        torch.testing.assert_close(driving, again, rtol=0, atol=0)
        assert not any(mirrored(driving))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_and_host_stores_give_the_same_pairs():
    form = BatchFormat(device=torch.device("cuda", 0))
    host = PairSampler(STORE, FULL, form=form)
    device = PairSampler(STORE.to("cuda:0"), FULL)
    torch.testing.assert_close(drawn(host, 2, 8), drawn(device, 2, 8), rtol=0, atol=0)
    torch.testing.assert_close(drawn(host, 1, 8).cpu(), drawn(PairSampler(STORE, FULL), 3, 8)[16:], rtol=0, atol=1e-4)
