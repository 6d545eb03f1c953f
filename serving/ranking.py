"""Rank for a few customers at once: the very functions of the batch, one after the other, each timed.

Customers who ask at the same time are ranked together, because half of the work is the price of calling a library: four
cost a third less each than one. A customer's numbers do not depend on who else is in the batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.feast_store import OnlineRow
from training.recommender.candidates import Candidates, find_candidates
from training.recommender.index import FloatArray, IntArray, ItemIndex
from training.recommender.pair_features import pair_features
from training.recommender.rank import rank_planes
from training.recommender.states import STATE_COLUMNS, UserStates, read_states

ListScorer = Callable[[FloatArray, str], FloatArray]  # pairs x features, list -> pairs


@dataclass(frozen=True, eq=False)
class Prepared:
    """Some customers with their candidates, described: all that does not depend on the model."""

    states: UserStates
    candidates: Candidates
    features: FloatArray  # pairs x FEATURES
    seconds: float


@dataclass(frozen=True, eq=False)
class Ranked:
    """One customer's list, best first, with the scores of all their candidates."""

    item_ids: list[str]
    scores: list[float]
    candidate_scores: FloatArray
    seconds: float = 0.0
    """What scoring and listing took, for all who were ranked together."""


def states_of(user_ids: Sequence[str], rows: Sequence[OnlineRow | None], index: ItemIndex) -> UserStates:
    """Customers as the ranker sees them; one without a row has an empty history."""
    values = [row.values if row else {} for row in rows]
    return read_states({"user_id": user_ids, **{c: [v.get(c) for v in values] for c in STATE_COLUMNS[1:]}}, index)


def prepare(states: UserStates, index: ItemIndex) -> Prepared:
    """Find and describe the candidates of some customers."""
    began = time.perf_counter()
    candidates = find_candidates(states, index)
    features = pair_features(states, index, candidates)
    return Prepared(states, candidates, features, time.perf_counter() - began)


def rank(
    score: ListScorer, prepared: Prepared, members: Sequence[int], index: ItemIndex, *, k: int, scope: str
) -> list[Ranked]:
    """The k best items of one list for each of the members, who are numbers of prepared customers.

    Popular items fill up where candidates do not suffice. Raises ArithmeticError for scores that are no numbers.
    """
    began, candidates = time.perf_counter(), prepared.candidates
    everybody = len(members) == prepared.states.size
    mine = slice(None) if everybody else np.isin(candidates.users, members)
    users, items = candidates.users[mine], candidates.items[mine]
    scores = score(prepared.features[mine], scope)
    if not np.isfinite(scores).all():
        raise ArithmeticError("the model gave scores that are no numbers")
    plane = np.zeros((prepared.states.size, index.size), np.float32)
    plane[users, items] = scores
    ranking = rank_planes({scope: plane}, prepared.states, index, k=k)
    listed, values = ranking.items[scope], ranking.scores[scope]
    seconds = time.perf_counter() - began
    return [_ranked(listed[user], values[user], scores[users == user], seconds, index) for user in members]


def _ranked(
    listed: IntArray, values: FloatArray, candidate_scores: FloatArray, seconds: float, index: ItemIndex
) -> Ranked:
    there = listed >= 0
    return Ranked(index.item_ids[listed[there]].tolist(), values[there].tolist(), candidate_scores, seconds)


def popular(index: ItemIndex, *, k: int, but: Collection[str] = ()) -> Ranked:
    """What sells, but for these items, for when nothing can be ranked: the last rung."""
    best = np.flatnonzero(index.popularity_rank < k + len(but))
    best = best[np.argsort(index.popularity_rank[best])]
    best = best[~np.isin(index.item_ids[best], list(but))][:k] if len(but) else best[:k]
    return Ranked(index.item_ids[best].tolist(), (-index.popularity_rank[best]).tolist(), np.empty(0, np.float32))
