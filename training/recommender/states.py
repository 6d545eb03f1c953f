"""Customers as the recommender sees them: features and purchase history, aligned to an item index.

Rows come from the offline store as a frame of many customers, or from the online store as one row; an unknown customer is a row of nulls.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

from training.recommender.index import ABSENT, FloatArray, IntArray, ItemIndex

USER_FEATURES = (
    "user_orders_4w", "user_orders_26w", "user_orders", "user_purchases_4w", "user_purchases_26w", "user_purchases", "user_items",
    "user_days_since_last", "user_tenure_days", "user_median_basket", "user_repeat_share", "user_median_price", "user_median_quantity",
)  # fmt: skip
HISTORY_FEATURES = (
    "history_orders", "history_orders_since", "history_orders_since_first", "history_days_since_last", "history_days_since_first",
    "history_weight", "history_quantity",
)  # fmt: skip
STATE_COLUMNS = ("user_id", *USER_FEATURES, "history_item_ids", *HISTORY_FEATURES)


@dataclass(frozen=True, eq=False)
class UserStates:
    """Customers 0..n-1; the history of customer u is entries indptr[u]..indptr[u+1], most recent first."""

    user_ids: npt.NDArray[np.object_]
    features: FloatArray  # n x len(USER_FEATURES), ABSENT where unknown
    indptr: npt.NDArray[np.int64]
    items: IntArray  # item numbers of the index
    history: FloatArray  # entries x len(HISTORY_FEATURES)

    @property
    def size(self) -> int:
        return len(self.user_ids)

    def past(self, name: str) -> FloatArray:
        return self.history[:, HISTORY_FEATURES.index(name)]

    def owners(self) -> IntArray:
        """Name the customer of each history entry."""
        return np.repeat(np.arange(self.size, dtype=np.int32), np.diff(self.indptr))

    def matrix(self, values: FloatArray, n_items: int) -> csr_array:
        """Lay one value per history entry out as customers x items."""
        # In the index type of all matrices of the index: SciPy would else copy theirs for each product, .6 ms of a request.
        return csr_array((values, self.items, self.indptr.astype(np.int32)), shape=(self.size, n_items))

    def batches(self, size: int) -> Iterator["UserStates"]:
        """Cut into runs of at most `size` customers, so that memory stays bounded."""
        for start in range(0, self.size, size):
            stop = min(start + size, self.size)
            first, last = self.indptr[start], self.indptr[stop]
            yield UserStates(
                self.user_ids[start:stop],
                self.features[start:stop],
                self.indptr[start : stop + 1] - first,
                self.items[first:last],
                self.history[first:last],
            )


def read_states(rows: Mapping[str, Sequence[Any]] | pd.DataFrame, index: ItemIndex) -> UserStates:
    """Align rows with the columns STATE_COLUMNS (a data frame, or a dict of lists) to the item numbers of `index`.

    Items that the index no longer holds are left out: they cannot be recommended, nor say anything about others.
    """
    user_ids = np.asarray(rows["user_id"], dtype=object)
    features = np.array(
        [[ABSENT if _missing(value) else value for value in rows[name]] for name in USER_FEATURES], np.float32
    ).T
    histories = [[] if _missing(value) else value for value in rows["history_item_ids"]]
    number_of = index.number_of
    numbers = np.array([number_of.get(item_id, -1) for history in histories for item_id in history], np.int32)
    owners = np.repeat(np.arange(len(user_ids)), [len(history) for history in histories])
    listed = numbers >= 0
    empty = np.empty(0, np.float32)
    values = [np.concatenate([empty, *map(_values, rows[name])]) for name in HISTORY_FEATURES]
    history = np.stack(values, axis=1)[listed]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owners[listed], minlength=len(user_ids)))]).astype(np.int64)
    return UserStates(user_ids, features, indptr, numbers[listed], history)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def _values(value: Any) -> npt.NDArray[np.float32]:
    return np.empty(0, np.float32) if _missing(value) else np.asarray(value, np.float32)
