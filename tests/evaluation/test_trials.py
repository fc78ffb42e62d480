from __future__ import annotations

from synhead.evaluation.trials import cross_identity_trials, driving_indices


def test_driving_indices():
    assert driving_indices(100) == (1, 11, 22, 33, 44, 55, 66, 77, 88, 99)
    assert driving_indices(4) == (1, 2, 3)
    assert driving_indices(2) == (1,)


def test_cross_identity_pairs_are_fixed_and_of_two_clips(make_trial):
    trials = [make_trial(name, seed) for seed, name in enumerate("abcdefgh")]
    pairs = cross_identity_trials(trials, pairs=3)
    assert [pair.name for pair in pairs] == ["a>e", "d>h", "h>d"]
    assert all((pair.reference == driver.source).all() for pair, driver in zip(pairs, trials[4:5], strict=False))
    assert not any(pair.same_identity for pair in pairs)
    assert cross_identity_trials(trials[:1]) == ()
