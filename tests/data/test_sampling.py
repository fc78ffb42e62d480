import numpy as np
import pytest
from clip_factory import store_of
from hypothesis import given, settings
from hypothesis import strategies as st

from synhead.data.config import DataConfig
from synhead.data.draws import uniforms
from synhead.data.records import DataError
from synhead.data.sampling import BalancedChooser, ReferenceChooser, choose_frames, clip_chooser

TABLE = store_of((2, 2, 2, 2, 2, 2), "aaabbc", generated=(1, 5)).table


def chosen(config: DataConfig, count: int = 20_000) -> np.ndarray:
    index = np.arange(count, dtype=np.uint64)
    clips = clip_chooser(TABLE, config, 0).choose(index, uniforms(0, index))
    return np.bincount(clips, minlength=6) / count


def test_reference_epoch_is_a_hundred_passes_over_the_identities():
    chooser = ReferenceChooser(TABLE, seed=4)
    index = np.arange(2 * chooser.epoch_length, dtype=np.uint64)
    clips = chooser.choose(index, uniforms(4, index))
    people = TABLE.person[clips].reshape(2, -1)
    assert chooser.epoch_length == 300
    for epoch in people:
        assert np.bincount(epoch).tolist() == [100, 100, 100]
    assert (people[0] != people[1]).any()
    assert (np.bincount(clips, minlength=6) > 0).all()


def test_reference_order_can_be_entered_anywhere():
    whole, parts = ReferenceChooser(TABLE, seed=1), ReferenceChooser(TABLE, seed=1)
    index = np.arange(1000, dtype=np.uint64)
    u = uniforms(1, index)
    expected = whole.choose(index, u)
    order = np.random.default_rng(0).permutation(1000)
    got = np.array([parts.choose(index[i : i + 1], u[i : i + 1])[0] for i in order])
    np.testing.assert_array_equal(got, expected[order])


def test_balanced_by_person():
    share = chosen(DataConfig(sampling="balanced"))
    np.testing.assert_allclose([share[:3].sum(), share[3:5].sum(), share[5]], [1 / 3] * 3, atol=0.02)


def test_temperature_gives_more_to_people_with_many_clips():
    np.testing.assert_allclose(chosen(DataConfig(sampling="balanced", person_temperature=1.0)), [1 / 6] * 6, atol=0.02)
    share = chosen(DataConfig(sampling="balanced", person_temperature=0.5))
    weight = np.array([3, 2, 1]) ** 0.5
    people = [share[:3].sum(), share[3:5].sum(), share[5]]
    np.testing.assert_allclose(people, weight / weight.sum(), atol=0.02)


def test_generated_clips_weigh_less():
    share = chosen(DataConfig(sampling="balanced", generated_weight=0.0))
    assert share[1] == share[5] == 0
    half = chosen(DataConfig(sampling="balanced", person_temperature=1.0, generated_weight=0.5))
    np.testing.assert_allclose(half, np.array([2, 1, 2, 2, 2, 1]) / 10, atol=0.02)
    only_generated = store_of((2, 2), "ab", generated=(0, 1)).table
    with pytest.raises(DataError, match="generated_weight"):
        BalancedChooser(only_generated, DataConfig(sampling="balanced", generated_weight=0.0))


lengths = st.lists(st.integers(2, 50), min_size=1, max_size=20)


@settings(deadline=None, max_examples=50)
@given(lengths=lengths, seed=st.integers(0, 2**32), sampling=st.sampled_from(["reference", "balanced"]))
def test_frames_lie_in_their_clip(lengths: list[int], seed: int, sampling: str):
    n = np.array(lengths, dtype=np.int64)
    pair = choose_frames(n, uniforms(seed, np.arange(len(n), dtype=np.uint64)), DataConfig(sampling=sampling))
    for frame in (pair.source, pair.driving):
        assert (frame >= 0).all()
        assert (frame < n).all()


@settings(deadline=None, max_examples=50)
@given(lengths=lengths, seed=st.integers(0, 2**32), low=st.integers(0, 10), room=st.integers(0, 10))
def test_distance_keeps_its_limits_where_the_clip_allows(lengths: list[int], seed: int, low: int, room: int):
    n = np.array(lengths, dtype=np.int64)
    config = DataConfig(sampling="balanced", min_distance=low, max_distance=low + room)
    pair = choose_frames(n, uniforms(seed, np.arange(len(n), dtype=np.uint64)), config)
    distance = np.abs(pair.source - pair.driving)
    assert (distance <= low + room).all()
    assert (distance >= np.minimum(low, n - 1)).all()


def test_far_pairs_are_half_a_clip_apart():
    n = np.full(4000, 40)
    u = uniforms(0, np.arange(4000, dtype=np.uint64))
    pair = choose_frames(n, u, DataConfig(sampling="balanced", far_probability=1.0))
    assert np.abs(pair.source - pair.driving).min() == 20


def test_reference_frames_are_drawn_with_replacement_and_sorted():
    n = np.full(4000, 4)
    u = uniforms(0, np.arange(4000, dtype=np.uint64))
    pair = choose_frames(n, u, DataConfig(swap_probability=0.0))
    assert (pair.source <= pair.driving).all()
    assert (pair.source == pair.driving).mean() == pytest.approx(0.25, abs=0.03)


def test_half_of_the_pairs_run_backward():
    n = np.full(4000, 1000)
    u = uniforms(0, np.arange(4000, dtype=np.uint64))
    pair = choose_frames(n, u, DataConfig())
    assert (pair.source > pair.driving).mean() == pytest.approx(0.5, abs=0.03)
