"""Candidates: the few hundred items per customer worth ranking, and what each source says about them.

Sources score customers x items as dense planes, so call with batches of `batch_size(index)` customers. Every step works row by row (sparse
products, partitions along a row): a customer's numbers do not depend on who else is in the batch, and training, batch scoring and serving
agree bit for bit.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from training.recommender.index import BLOCK_CELLS, FloatArray, IntArray, ItemIndex, Matrix
from training.recommender.states import UserStates

#: Each scores customer-item pairs; those with a limit also propose that many of their best as candidates.
PAIR_SOURCES = ("repeat", "restock", "covisited", "ease", "text", "peers", "found")
LIMITS: Mapping[str, int] = {"repeat": 200, "covisited": 60, "ease": 60, "text": 40, "found": 60}
REPEAT_POWER = np.float32(0.4)
RESTOCK_POWER = np.float32(0.7)
UNSOLD = np.float32(0.1)
UNRANKED = np.float32(999)
BATCHES_AT_ONCE = 2

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs sorted by customer, then item; customer u's are indptr[u]..indptr[u+1]."""

    indptr: npt.NDArray[np.int64]
    users: IntArray
    items: IntArray
    scores: FloatArray  # pairs x len(PAIR_SOURCES)
    ranks: FloatArray  # 0 is the customer's best candidate, UNRANKED where the source is silent
    history: npt.NDArray[np.int64]  # the pair's entry in states.history, -1 where never bought


def batch_size(index: ItemIndex) -> int:
    """Say how many customers fit into one batch of dense planes, of which several are in work at once."""
    return max(1, BLOCK_CELLS // BATCHES_AT_ONCE // max(1, index.size))


def each_batch(work: Callable[[UserStates], Result], states: UserStates, index: ItemIndex) -> list[Result]:
    """Do the same work for batches of customers, two at a time: most of it runs in libraries that let go of Python's lock."""
    batches = list(states.batches(batch_size(index)))
    if len(batches) == 1:  # one customer who waits is not worth a thread
        return [work(batch) for batch in batches]
    with ThreadPoolExecutor(BATCHES_AT_ONCE) as pool:
        return list(pool.map(work, batches))


def find_candidates(states: UserStates, index: ItemIndex, *, dropped: frozenset[str] = frozenset()) -> Candidates:
    """Join the best items of every source not `dropped`; a customer without history gets what is popular or new."""
    planes = source_planes(states, index)
    chosen = np.zeros((states.size, index.size), dtype=bool)
    for name, limit in LIMITS.items():
        if name not in dropped:
            _choose_best(chosen, planes[name], limit)
    for name, items in index.shared_candidates.items():
        if name not in dropped:
            chosen[:, items] = True
    users, items = (part.astype(np.int32) for part in np.nonzero(chosen))
    scores = np.stack([planes[name][users, items] for name in PAIR_SOURCES], axis=1)
    return Candidates(
        indptr=np.searchsorted(users, np.arange(states.size + 1)).astype(np.int64),
        users=users,
        items=items,
        scores=scores,
        ranks=_ranks_within(users, scores),
        history=_history_entry(states, index, users, items),
    )


def source_planes(states: UserStates, index: ItemIndex) -> dict[str, FloatArray]:
    """Score every item for every customer by each pair source: customers x items."""
    recent = states.matrix(states.past("history_weight"), index.size)
    likeness = _shares(csr_array(recent @ index.peers))
    # One product for several matrices side by side: what a product costs to call is half of what it costs for one customer.
    covisited, ease, text = np.hsplit((recent @ index.similarities).toarray(), 3)
    peers, found = np.hsplit((likeness @ index.peers_demand).toarray(), 2)
    return {
        "repeat": repeat_plane(states, index),
        "restock": _restock_plane(states, index, peers),
        "covisited": covisited,
        "ease": ease,
        "text": text,
        "peers": peers,
        "found": found,
    }


def repeat_plane(states: UserStates, index: ItemIndex) -> FloatArray:
    """Score what the customer bought before: the more often, and the more others buy it now.

    Orders count in full however old they are: with decayed ones the rule lost .02 NDCG@10 on real weeks. What nobody
    bought for four weeks keeps a little weight, or it could not be found again.
    """
    popularity = np.maximum(index.feature("item_purchases_4w"), UNSOLD)[states.items] ** REPEAT_POWER
    return states.matrix(states.past("history_orders") * popularity, index.size).toarray()


def _restock_plane(states: UserStates, index: ItemIndex, peers: FloatArray) -> FloatArray:
    """Score what the customer bought before by what similar customers buy now: .008 NDCG@10 above `repeat` on its own."""
    demand = peers[states.owners(), states.items] ** RESTOCK_POWER
    return states.matrix(states.past("history_orders") * demand, index.size).toarray()


def _shares(matrix: Matrix) -> Matrix:
    """Scale each row to a sum of 1; empty rows stay empty."""
    totals = np.repeat(np.asarray(matrix.sum(axis=1)).ravel(), np.diff(matrix.indptr))
    return csr_array((matrix.data / totals, matrix.indices, matrix.indptr), shape=matrix.shape)


def _choose_best(chosen: npt.NDArray[np.bool_], plane: FloatArray, limit: int) -> None:
    """Mark the positive entries among the `limit` largest of each row."""
    if plane.shape[1] <= limit:
        chosen |= plane > 0
        return
    best = np.argpartition(-plane, limit - 1, axis=1)[:, :limit]
    rows = np.arange(len(plane))[:, None]
    chosen[rows, best] |= plane[rows, best] > 0


def _ranks_within(users: IntArray, scores: FloatArray) -> FloatArray:
    """Number each customer's pairs by falling score, in each column; ties keep item order."""
    # All columns in one call: for one customer, calling costs more than sorting.
    order = np.lexsort((-scores.T, np.broadcast_to(users, scores.T.shape)))
    places = np.empty(scores.T.shape, np.float32)
    np.put_along_axis(places, order, (np.arange(len(users)) - np.searchsorted(users, users))[None], axis=1)
    return np.where(scores > 0, places.T, UNRANKED)


def place_within(groups: npt.NDArray[np.integer], keys: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Number the entries of each group from 0 by rising key; ties keep their order."""
    order = np.lexsort((keys, groups))
    places = np.empty(len(groups), np.int64)
    places[order] = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order], side="left")
    return places


def _history_entry(states: UserStates, index: ItemIndex, users: IntArray, items: IntArray) -> npt.NDArray[np.int64]:
    entries = np.full((states.size, index.size), -1, np.int64)
    entries[states.owners(), states.items] = np.arange(len(states.items))
    return entries[users, items]
