"""Rank: turn scored candidates into the two lists that customers see."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.recommender.candidates import batch_size, find_candidates
from training.recommender.index import FloatArray, IntArray, ItemIndex
from training.recommender.pair_features import pair_features
from training.recommender.states import UserStates

Scorer = Callable[[FloatArray], FloatArray]  # pairs x features -> one score a pair

Plane = Callable[[UserStates], FloatArray]  # customers -> customers x items

LIST_COLUMNS = ("user_id", "scope", "rank", "item_id", "score")
SCOPES = ("all", "new")  # everything, and only what the customer never bought


@dataclass(frozen=True, eq=False)
class Ranking:
    """Item numbers, best first: customers x k for each scope, -1 where the catalogue has no more; scores likewise."""

    items: dict[str, IntArray]
    scores: dict[str, FloatArray]


def recommend(score: Scorer, states: UserStates, index: ItemIndex, *, k: int = 20) -> pd.DataFrame:
    """List k items per customer and scope as rows (user_id, scope, rank from 1, item_id, score)."""
    return list_items(lambda batch: score_catalogue(score, batch, index), states, index, k=k)


def list_items(plane: Plane, states: UserStates, index: ItemIndex, *, k: int = 20) -> pd.DataFrame:
    """List the best items by any scorer of whole planes, a bounded batch of customers at a time."""
    frames = [
        _as_rows(batch, index, rank_plane(plane(batch), batch, index, k=k))
        for batch in states.batches(batch_size(index))
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(LIST_COLUMNS))


def score_catalogue(
    score: Scorer, states: UserStates, index: ItemIndex, *, dropped: frozenset[str] = frozenset()
) -> FloatArray:
    """Lay the scores of the candidates out as customers x items, 0 elsewhere.

    An unknown customer is an empty state through the same code.
    """
    candidates = find_candidates(states, index, dropped=dropped)
    plane = np.zeros((states.size, index.size), np.float32)
    plane[candidates.users, candidates.items] = score(pair_features(states, index, candidates))
    return plane


def rank_plane(plane: FloatArray, states: UserStates, index: ItemIndex, *, k: int = 20) -> Ranking:
    """Order what scores above 0, then fill up with popular items; ties go to the smaller item number."""
    filled = np.where(plane > 0, plane, -index.popularity_rank)
    all_items, all_scores = _best(filled, k)
    filled[states.owners(), states.items] = -np.inf
    new_items, new_scores = _best(filled, k)
    return Ranking({"all": all_items, "new": new_items}, {"all": all_scores, "new": new_scores})


def _best(plane: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """Take the k best columns of each row; -1 pads rows that have fewer."""
    width = min(k, plane.shape[1])
    order = np.argsort(-plane, axis=1, kind="stable")[:, :width].astype(np.int32)
    scores = np.take_along_axis(plane, order, axis=1)
    padded_items = np.full((len(plane), k), -1, np.int32)
    padded_scores = np.full((len(plane), k), -np.inf, np.float32)
    padded_items[:, :width] = np.where(np.isfinite(scores), order, -1)
    padded_scores[:, :width] = scores
    return padded_items, padded_scores


def _as_rows(states: UserStates, index: ItemIndex, ranking: Ranking) -> pd.DataFrame:
    return pd.concat(list(_scope_rows(states, index, ranking)), ignore_index=True)


def _scope_rows(states: UserStates, index: ItemIndex, ranking: Ranking) -> Iterator[pd.DataFrame]:
    for scope in SCOPES:
        users, places = np.nonzero(ranking.items[scope] >= 0)
        yield pd.DataFrame(
            {
                "user_id": states.user_ids[users],
                "scope": scope,
                "rank": (places + 1).astype(np.int64),
                "item_id": index.item_ids[ranking.items[scope][users, places]].astype(object),
                "score": ranking.scores[scope][users, places],
            }
        )
