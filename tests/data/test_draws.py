import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from synhead.data.draws import Draw, sample_indices, uniforms


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**64 - 1), start=st.integers(0, 2**40), split=st.integers(1, 7))
def test_a_row_depends_on_its_number_alone(seed: int, start: int, split: int):
    index = np.arange(start, start + 8, dtype=np.uint64)
    whole = uniforms(seed, index)
    np.testing.assert_array_equal(whole, np.concatenate([uniforms(seed, index[:split]), uniforms(seed, index[split:])]))
    assert (whole >= 0).all()
    assert (whole < 1).all()


def test_columns_are_uniform_and_uncorrelated():
    u = uniforms(3, np.arange(20_000, dtype=np.uint64))
    assert np.abs(u.mean(0) - 0.5).max() < 0.01
    assert np.abs(u.var(0) - 1 / 12).max() < 0.002
    assert np.abs(np.corrcoef(u.T) - np.eye(len(Draw))).max() < 0.03
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.03


def test_seeds_and_attempts_differ():
    index = np.arange(4, dtype=np.uint64)
    rows = [uniforms(0, index), uniforms(1, index), uniforms(0, index, attempt=1), uniforms(1, index, attempt=1)]
    assert len({row.tobytes() for row in rows}) == 4


def test_the_order_of_columns_is_fixed():
    """Saved runs resume by it: append, never insert."""
    assert [draw.value for draw in Draw] == list(range(16))
    assert Draw.ROTATION == 15


def test_ranks_take_consecutive_blocks():
    blocks = [sample_indices(24, 4, rank).tolist() for rank in range(3)]
    assert blocks == [[24, 25, 26, 27], [28, 29, 30, 31], [32, 33, 34, 35]]
