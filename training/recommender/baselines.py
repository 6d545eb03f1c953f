"""Baselines: what the ranker must beat, measured on the same customers, items and weeks.

A baseline is fitted on purchases before the index's moment and then scores customers x items in one plane. What it leaves at zero is filled
up by popularity, as for the ranker.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, csr_matrix, diags_array

from training.recommender.candidates import repeat_plane
from training.recommender.index import FloatArray, ItemIndex, fit_ease, nearest, number_lines
from training.recommender.rank import Plane
from training.recommender.states import UserStates

Baseline = Callable[[pd.DataFrame, ItemIndex], Plane]


def popularity_all_time(_purchases: pd.DataFrame, index: ItemIndex) -> Plane:
    return lambda states: np.tile(index.feature("item_purchases"), (states.size, 1))


def popularity_4w(_purchases: pd.DataFrame, index: ItemIndex) -> Plane:
    return lambda states: np.tile(index.feature("item_purchases_4w"), (states.size, 1))


def repeat_x_popularity(_purchases: pd.DataFrame, index: ItemIndex) -> Plane:
    """Rank what the customer bought before by orders x popularity of the last four weeks ^ .4: hard to beat where people restock."""
    return lambda states: repeat_plane(states, index)


def item_knn(purchases: pd.DataFrame, index: ItemIndex) -> Plane:
    """Compare items by the cosine of their buyers (Sarwar et al. 2001, doi 10.1145/371920.372071)."""
    bought = _purchase_counts(purchases, index).sign()
    norm = diags_array(1 / np.sqrt(np.maximum(bought.sum(axis=0), 1)))
    scaled = (bought @ norm).astype(np.float32).tocsr()
    similar = nearest(scaled.T.tocsr(), scaled)
    return lambda states: (_bought(states, index) @ similar).toarray()


def ease_all_time(purchases: pd.DataFrame, index: ItemIndex) -> Plane:
    similar = fit_ease(_purchase_counts(purchases, index).sign(), l2=200)
    return lambda states: (_bought(states, index) @ similar).toarray()


def covisitation(_purchases: pd.DataFrame, index: ItemIndex) -> Plane:
    return lambda states: (states.matrix(states.past("history_weight"), index.size) @ index.covisited).toarray()


def als(purchases: pd.DataFrame, index: ItemIndex) -> Plane:
    """Factorise purchase counts (Hu, Koren and Volinsky 2008, doi 10.1109/ICDM.2008.22), times popularity ^ .3."""
    from implicit.cpu.als import AlternatingLeastSquares  # a development dependency, needed by the bench alone

    counts = _purchase_counts(purchases, index)
    model = AlternatingLeastSquares(factors=64, regularization=0.05, iterations=15, num_threads=2, random_state=0)
    model.fit(csr_matrix(counts), show_progress=False)  # implicit knows the older matrix class only
    popularity = index.popularity**0.3

    def plane(states: UserStates) -> FloatArray:
        factors = model.recalculate_user(np.arange(states.size), csr_matrix(_bought(states, index)))
        return (factors @ model.item_factors.T) * popularity

    return plane


BASELINES: Mapping[str, Baseline] = {
    "popularity_all_time": popularity_all_time,
    "popularity_4w": popularity_4w,
    "item_knn": item_knn,
    "ease": ease_all_time,
    "als": als,
    "covisitation": covisitation,
    "repeat_x_popularity": repeat_x_popularity,
}


def _purchase_counts(purchases: pd.DataFrame, index: ItemIndex) -> csr_array:
    lines = number_lines(purchases, index.item_ids, index.as_of)
    counts = csr_array(
        (np.ones(len(lines.user), np.float32), (lines.user, lines.item)),
        shape=(lines.user.max(initial=-1) + 1, index.size),
    )
    counts.sum_duplicates()
    return counts


def _bought(states: UserStates, index: ItemIndex) -> csr_array:
    return states.matrix(np.ones(len(states.items), np.float32), index.size)
