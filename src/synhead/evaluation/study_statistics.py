"""Statistics of rankings by people: mean ranks and Bradley-Terry scores with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from synhead.types import NDArray

PRIOR_WINS = 0.1
"""Wins added to each side of every pair, so that a system that never lost has a finite score."""

_TOLERANCE, _MOST_STEPS, _LONGEST_STEP = 1e-10, 200, 2.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """One answer: the systems that were shown together, best first."""

    participant: str
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the bounds of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A system by one question. ``mean_rank``: 1 is best. ``score``: log-strength, mean 0 over systems.

    ``shown``: rankings that it was part of.
    """

    system: str
    shown: int
    mean_rank: Interval
    score: Interval


def standings(
    rankings: Sequence[Ranking],
    systems: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> tuple[Standing, ...]:
    """Mean rank and score of every system that was shown, with percentile intervals of a bootstrap over participants.

    Participants are drawn with replacement, each with all answers, since answers of one person belong together. Few
    participants give rough intervals, one gives none (low = high = value). Draws that lack a system say nothing of it.
    Raises ValueError without rankings.
    """
    if not rankings:
        raise ValueError("no answers yet: let people finish at least one page")
    seen = {system for ranking in rankings for system in ranking.order}
    systems = [system for system in systems if system in seen]
    people = sorted({ranking.participant for ranking in rankings})
    groups = [[ranking for ranking in rankings if ranking.participant == person] for person in people]
    sums, shown = _stack(groups, systems, _rank_sums), _stack(groups, systems, _times_shown)
    wins = _stack(groups, systems, count_wins)
    drawn = np.arange(len(people))[None]
    if len(people) > 1:
        drawn = np.random.default_rng(seed).integers(0, len(people), (resamples, len(people)))
    rank, score = _divide(sums.sum(0), shown.sum(0)), bradley_terry(wins.sum(0))
    times = shown[drawn].sum(1)
    ranks = _divide(sums[drawn].sum(1), times)
    scores = np.where(times > 0, _maximise(_with_prior(wins[drawn].sum(1), PRIOR_WINS)), np.nan)
    rank_bounds, score_bounds = _bounds(ranks, confidence), _bounds(scores, confidence)
    return tuple(
        Standing(
            system=system,
            shown=int(shown.sum(0)[i]),
            mean_rank=Interval(float(rank[i]), float(rank_bounds[0, i]), float(rank_bounds[1, i])),
            score=Interval(float(score[i]), float(score_bounds[0, i]), float(score_bounds[1, i])),
        )
        for i, system in enumerate(systems)
    )


def mean_ranks(rankings: Sequence[Ranking], systems: Sequence[str]) -> Float[NDArray[Any], " systems"]:
    """Mean place of each system, 1 the best; NaN for one that was never shown."""
    return _divide(_rank_sums(rankings, systems), _times_shown(rankings, systems))


def count_wins(rankings: Sequence[Ranking], systems: Sequence[str]) -> Float[NDArray[Any], "systems systems"]:
    """``wins[i, j]``: how often i stood before j; a ranking of k systems is k (k - 1) / 2 comparisons."""
    place = {system: i for i, system in enumerate(systems)}
    wins = np.zeros((len(systems), len(systems)))
    for ranking in rankings:
        for i, better in enumerate(ranking.order):
            for worse in ranking.order[i + 1 :]:
                wins[place[better], place[worse]] += 1
    return wins


def bradley_terry(
    wins: Float[NDArray[Any], "systems systems"], *, prior: float = PRIOR_WINS
) -> Float[NDArray[Any], " systems"]:
    """Scores s that maximise sum_ij w_ij log sigmoid(s_i - s_j), w = wins + prior (Bradley and Terry 1952); mean 0.

    Newton's method; the likelihood is strictly concave up to the mean, thanks to the prior.
    """
    return np.asarray(_maximise(_with_prior(wins[None], prior))[0])


def _with_prior(wins: Float[NDArray[Any], "n s s"], prior: float) -> Float[NDArray[Any], "n s s"]:
    return np.asarray(wins + prior * (1 - np.eye(wins.shape[-1])))


def _maximise(weight: Float[NDArray[Any], "n s s"]) -> Float[NDArray[Any], "n s"]:
    """Scores of n tables of weighted wins at once."""
    games = weight + weight.swapaxes(1, 2)
    score = np.zeros(weight.shape[:2])
    for _ in range(_MOST_STEPS):
        chance = 1 / (1 + np.exp(score[:, None, :] - score[:, :, None]))
        gradient = (weight - games * chance).sum(axis=2)
        curvature = games * chance * (1 - chance)
        hessian = curvature.sum(axis=2)[..., None] * np.eye(score.shape[1]) - curvature
        step = (np.linalg.pinv(hessian, hermitian=True) @ gradient[..., None])[..., 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
        score = score + step - (score + step).mean(axis=1, keepdims=True)
        if longest.max() < _TOLERANCE:
            break
    return score


def _stack(
    groups: Sequence[Sequence[Ranking]],
    systems: Sequence[str],
    measure: Callable[[Sequence[Ranking], Sequence[str]], NDArray[Any]],
) -> NDArray[Any]:
    """One measurement a participant; all of them add up."""
    return np.stack([measure(group, systems) for group in groups])


def _rank_sums(rankings: Sequence[Ranking], systems: Sequence[str]) -> Float[NDArray[Any], " systems"]:
    sums = dict.fromkeys(systems, 0.0)
    for ranking in rankings:
        for rank, system in enumerate(ranking.order, start=1):
            sums[system] += rank
    return np.array([sums[system] for system in systems])


def _times_shown(rankings: Sequence[Ranking], systems: Sequence[str]) -> Float[NDArray[Any], " systems"]:
    return np.array([float(sum(system in ranking.order for ranking in rankings)) for system in systems])


def _divide(sums: NDArray[Any], counts: NDArray[Any]) -> Float[NDArray[Any], "*n systems"]:
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _bounds(samples: Float[NDArray[Any], "n s"], confidence: float) -> Float[NDArray[Any], "2 s"]:
    tail = 50 * (1 - confidence)
    return np.nanpercentile(samples, [tail, 100 - tail], axis=0)
