"""Rank: turn scored candidates into the two lists that customers see."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.recommender.candidates import Candidates, each_batch, find_candidates, place_within
from training.recommender.index import FloatArray, IntArray, ItemIndex
from training.recommender.pair_features import pair_features
from training.recommender.states import UserStates

Scorer = Callable[[FloatArray], FloatArray]  # pairs x features -> pairs x SCOPES

Plane = Callable[[UserStates], FloatArray]  # customers -> customers x items

LIST_COLUMNS = ("user_id", "scope", "rank", "item_id", "score")
SCOPES = ("all", "new")  # everything, and only what the customer never bought


@dataclass(frozen=True, eq=False)
class Ranking:
    """Item numbers, best first: customers x k for each scope, -1 where the catalogue has no more; scores likewise."""

    items: dict[str, IntArray]
    scores: dict[str, FloatArray]


def recommend(score: Scorer, states: UserStates, index: ItemIndex, *, k: int = 20) -> pd.DataFrame:
    """List k items per customer and scope as rows (user_id, scope, rank from 1, item_id, score).

    An unknown customer is an empty state through the same code.
    """
    return recommend_each({"it": score}, states, index, k=k)["it"]


def recommend_each(
    scorers: Mapping[str, Scorer],
    states: UserStates,
    index: ItemIndex,
    *,
    k: int = 20,
    dropped: frozenset[str] = frozenset(),
) -> dict[str, pd.DataFrame]:
    """List by several scorers, by name: candidates and their features are half of the work, and the same for all of them.

    `dropped` are the candidate sources to do without.
    """

    def rank_batch(batch: UserStates) -> dict[str, pd.DataFrame]:
        candidates = find_candidates(batch, index, dropped=dropped)
        features = pair_features(batch, index, candidates)
        shape = (batch.size, index.size)
        return {
            name: _as_rows(batch, index, rank_planes(_lay_out(candidates, score(features), shape), batch, index, k=k))
            for name, score in scorers.items()
        }

    ranked = each_batch(rank_batch, states, index)
    return {name: _joined([batch[name] for batch in ranked]) for name in scorers}


def list_items(plane: Plane, states: UserStates, index: ItemIndex, *, k: int = 20) -> pd.DataFrame:
    """List the best items by any scorer of whole planes, a bounded batch of customers at a time."""

    def rank_batch(batch: UserStates) -> pd.DataFrame:
        return _as_rows(batch, index, rank_planes(dict.fromkeys(SCOPES, plane(batch)), batch, index, k=k))

    return _joined(each_batch(rank_batch, states, index))


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(LIST_COLUMNS))


def rank_planes(planes: Mapping[str, FloatArray], states: UserStates, index: ItemIndex, *, k: int = 20) -> Ranking:
    """Order what scores above 0 in each list's plane, then fill up with popular items; ties go to the smaller item number."""
    filled = {scope: np.where(plane > 0, plane, -index.popularity_rank) for scope, plane in planes.items()}
    if "new" in filled:
        filled["new"][states.owners(), states.items] = -np.inf
    best = {scope: _best(plane, k) for scope, plane in filled.items()}
    return Ranking(
        {scope: items for scope, (items, _) in best.items()}, {scope: scores for scope, (_, scores) in best.items()}
    )


def _lay_out(candidates: Candidates, scores: FloatArray, shape: tuple[int, int]) -> dict[str, FloatArray]:
    planes = {scope: np.zeros(shape, np.float32) for scope in SCOPES}
    for scope, column in zip(SCOPES, scores.T, strict=True):
        planes[scope][candidates.users, candidates.items] = column
    return planes


def _best(plane: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """Take the k best columns of each row; -1 pads rows that have fewer."""
    width = min(k, plane.shape[1])
    items = np.full((len(plane), k), -1, np.int32)
    scores = np.full((len(plane), k), -np.inf, np.float32)
    if not plane.size:
        return items, scores
    # Only what may be among the best is sorted; ties with the last of them come along, so that item order decides.
    last = np.partition(plane, plane.shape[1] - width, axis=1)[:, plane.shape[1] - width, None]
    rows, columns = np.nonzero((plane >= last) & np.isfinite(plane))
    values = plane[rows, columns]
    places = place_within(rows, -values)
    best = places < width
    items[rows[best], places[best]] = columns[best]
    scores[rows[best], places[best]] = values[best]
    return items, scores


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
