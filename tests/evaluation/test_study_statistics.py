from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from synhead.evaluation.study_statistics import Ranking, bradley_terry, count_wins, mean_ranks, standings

SYSTEMS = ("a", "b", "c", "d")


def random_rankings(strength, people=8, pages=10, seed=0):
    """Plackett-Luce draws: the strength of Gumbel noise decides the order."""
    generator = np.random.default_rng(seed)
    rankings = []
    for person, _ in itertools.product(range(people), range(pages)):
        noisy = np.array(strength) + generator.gumbel(size=len(strength))
        rankings.append(Ranking(f"p{person}", tuple(SYSTEMS[i] for i in np.argsort(-noisy))))
    return rankings


def reference_scores(wins, prior):
    """The same likelihood, written out term by term, maximised by a general optimiser."""

    def loss(score):
        total = 0.0
        for i, j in itertools.permutations(range(len(wins)), 2):
            total -= (wins[i, j] + prior) * -math.log1p(math.exp(score[j] - score[i]))
        return total

    found = minimize(loss, np.zeros(len(wins)), method="BFGS", options={"gtol": 1e-9})
    return found.x - found.x.mean()


@pytest.mark.parametrize("prior", [0.1, 1.0])
def test_scores_match_a_reference_maximum(prior):
    wins = count_wins(random_rankings([1.0, 0.2, -0.3, -0.9]), SYSTEMS)
    np.testing.assert_allclose(bradley_terry(wins, prior=prior), reference_scores(wins, prior), atol=1e-6)


def test_scores_of_two_systems_in_closed_form():
    assert bradley_terry(np.array([[0.0, 30.0], [10.0, 0.0]]), prior=0.0)[0] == pytest.approx(math.log(3) / 2)


def test_a_system_that_never_lost_has_a_finite_score():
    wins = np.array([[0.0, 50.0], [0.0, 0.0]])
    score = bradley_terry(wins)
    assert score[0] - score[1] == pytest.approx(math.log(50.1 / 0.1), rel=1e-6)


def test_wins_and_mean_ranks_by_hand():
    rankings = [Ranking("p", ("a", "b", "c")), Ranking("q", ("c", "a"))]
    assert count_wins(rankings, SYSTEMS).tolist() == [[0, 1, 1, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(mean_ranks(rankings, SYSTEMS), [1.5, 2, 2, np.nan])


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    strength = np.array([0.8, 0.2, -0.2, -0.8])
    inside = []
    for seed in range(40):
        rankings = random_rankings(strength, people=15, pages=6, seed=seed)
        found = standings(rankings, SYSTEMS, resamples=300, seed=seed)
        inside += [s.score.low <= truth <= s.score.high for s, truth in zip(found, strength, strict=True)]
    assert 0.85 <= np.mean(inside) <= 1.0


def test_standings_are_seeded_and_ordered():
    rankings = random_rankings([2.0, 0.0, 0.0, -2.0])
    first, again = standings(rankings, SYSTEMS, seed=1), standings(rankings, SYSTEMS, seed=1)
    assert first == again
    assert first != standings(rankings, SYSTEMS, seed=2)
    best, worst = first[0], first[3]
    assert best.mean_rank.high < worst.mean_rank.low
    assert best.score.low > worst.score.high
    assert all(s.mean_rank.low <= s.mean_rank.value <= s.mean_rank.high for s in first)
    assert sum(s.score.value for s in first) == pytest.approx(0, abs=1e-9)
    assert best.shown == 80


def test_a_system_that_nobody_has_seen_has_no_standing():
    found = standings([Ranking("p", ("b", "c")), Ranking("q", ("c", "b"))], SYSTEMS)
    assert [(s.system, s.shown, s.mean_rank.value) for s in found] == [("b", 2, 1.5), ("c", 2, 1.5)]
    assert sum(s.score.value for s in found) == pytest.approx(0)


def test_draws_without_a_system_do_not_pull_its_score_to_the_middle():
    answers = [Ranking("p", ("a", "b")), *[Ranking(person, ("b", "c")) for person in "qrstuv"]]
    (first, *_) = standings(answers, SYSTEMS)
    assert first.score.low > 0.5


def test_one_participant_has_no_interval_and_none_is_refused():
    (first, *_) = standings([Ranking("p", ("b", "a", "c", "d"))], SYSTEMS)
    assert first.mean_rank.low == first.mean_rank.high == first.mean_rank.value == 2
    with pytest.raises(ValueError, match="no answers"):
        standings([], SYSTEMS)
