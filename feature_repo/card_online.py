"""Give the windows of payments from the rows of the online store, as `card_features.describe` takes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from feature_repo.card_features import CUSTOMER_WINDOWS, TERMINAL_WINDOWS
from feature_repo.definitions import CARDS
from feature_repo.feast_store import OnlineRow

Floats = NDArray[np.float64]
Rows = Sequence[OnlineRow | None]


def windows_of(customers: Rows, terminals: Rows, as_of: datetime) -> dict[str, Floats]:
    """The windows of each payment's customer and terminal: what `card_windows.window_columns` gives, from stored rows.

    `customers` and `terminals` are what `FeastStore.online_rows` gave for the `customer_id` and the `terminal_id` of each
    payment, in their order; `as_of` is the moment of scoring (naive UTC). NaN for whom there is no row, or one that is older
    than the time to live: online stores keep a row until a newer one comes.
    """
    return {**_columns(customers, CUSTOMER_WINDOWS, as_of), **_columns(terminals, TERMINAL_WINDOWS, as_of)}


def is_served(row: OnlineRow, as_of: datetime) -> bool:
    """Whether a row is young enough, at the moment of scoring (naive UTC), to say something."""
    return row.available_at >= as_of - CARDS.ttl


def _columns(rows: Rows, names: tuple[str, ...], as_of: datetime) -> dict[str, Floats]:
    served = [row.values if row is not None and is_served(row, as_of) else {} for row in rows]
    return {name: np.array([values.get(name) for values in served], np.float64) for name in names}
