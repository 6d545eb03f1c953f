"""Pair features: the same numbers for a customer alone, in any batch, offline or online."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.recommender.candidates import Candidates, find_candidates
from training.recommender.index import FloatArray, ItemIndex
from training.recommender.pair_features import FEATURES, pair_features
from training.recommender.states import HISTORY_FEATURES, STATE_COLUMNS, USER_FEATURES, UserStates, read_states


def described(states: UserStates, index: ItemIndex) -> tuple[Candidates, FloatArray]:
    candidates = find_candidates(states, index)
    return candidates, pair_features(states, index, candidates)


def test_a_customer_alone_and_in_a_batch_is_the_same_to_the_last_bit(states: UserStates, index: ItemIndex) -> None:
    """Training sees batches, serving sees one customer; a difference would be train-serve skew."""
    together, features = described(states, index)

    alone = [described(one, index) for one in states.batches(1)]
    by_sevens = [described(batch, index) for batch in states.batches(7)]

    for parts in (alone, by_sevens):
        assert np.array_equal(together.items, np.concatenate([candidates.items for candidates, _ in parts]))
        assert features.tobytes() == np.concatenate([part for _, part in parts]).tobytes()


def test_features_are_finite_float32_in_the_named_order(states: UserStates, index: ItemIndex) -> None:
    """No runtime needs an opinion about NaN."""
    _, features = described(states, index)

    assert features.dtype == np.float32
    assert features.shape[1] == len(FEATURES) == len(set(FEATURES))
    assert np.isfinite(features).all()


def test_an_item_bought_before_carries_its_own_history(states: UserStates, index: ItemIndex) -> None:
    """And an item never bought carries none."""
    candidates, features = described(states, index)
    orders = features[:, FEATURES.index("own_orders")]
    bought = states.matrix(states.past("history_orders"), index.size).toarray()[candidates.users, candidates.items]

    assert np.array_equal(orders, np.where(bought > 0, bought, -1))


def test_frames_and_online_rows_read_the_same(index: ItemIndex) -> None:
    """A frame from the offline store and a dict of lists from the online one give the same state."""
    row = {"user_id": ["u"], **{name: [3.0] for name in USER_FEATURES}, "history_item_ids": [["i1", "gone", "i2"]]}
    row |= {name: [[1.0, 2.0, 3.0]] for name in HISTORY_FEATURES}

    online, offline = read_states(row, index), read_states(pd.DataFrame(row), index)

    assert online.items.tolist() == [index.number_of["i1"], index.number_of["i2"]]
    assert online.history.tobytes() == offline.history.tobytes()
    assert online.features.tobytes() == offline.features.tobytes()


def test_an_unknown_customer_is_a_row_of_nulls_and_an_empty_history(index: ItemIndex) -> None:
    """The same code serves a customer that nobody has met."""
    unknown = read_states({name: ["u" if name == "user_id" else None] for name in STATE_COLUMNS}, index)

    candidates, features = described(unknown, index)

    assert unknown.items.size == 0
    assert set(candidates.items) >= set(index.shared_candidates["popular"])
    assert len(features) == len(candidates.items)
