from __future__ import annotations

from dataclasses import replace

from synhead.evaluation.trials import cross_identity_trials, driving_indices, paired_indices


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


def test_pairs_are_of_two_people(make_trial):
    assert paired_indices("aaab", 9) == ((0, 3), (1, 3), (2, 3), (3, 1))
    assert paired_indices("abab", 2) == ((0, 3), (3, 2))
    assert paired_indices("aaaa", 9) == paired_indices("a", 9) == paired_indices("", 9) == ()
    assert paired_indices("abcdefgh", 3) == ((0, 4), (3, 7), (7, 3))
    trials = [replace(make_trial(name, seed), person=name[0]) for seed, name in enumerate(("a1", "a2", "a3", "b1"))]
    assert [one.name for one in cross_identity_trials(trials)] == ["a1>b1", "a2>b1", "a3>b1", "b1>a2"]
    assert cross_identity_trials(trials[:3]) == ()
