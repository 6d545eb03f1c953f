"""The log of scored payments: what a row holds, where it lies, and what turns it into the watch's tables.

`scores_of` and `features_online_of` are for whoever feeds the watch from a service; no DAG does so yet. The log is written and read
as the recommender's is (`training.predictions`); docs/fraud.md says what the tables are for.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from feature_repo.card_features import FEATURES
from training.predictions import read_predictions

SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", "UTC"), nullable=False),  # when it was scored
        pa.field("transaction_id", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("us"), nullable=False),  # when it was made, UTC as in the feed
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("blocked", pa.bool_(), nullable=False),
        pa.field("explored", pa.bool_(), nullable=False),
        pa.field("rung", pa.string(), nullable=False),
        pa.field("features_at", pa.timestamp("us", "UTC")),  # null: scored without windows
        pa.field("latency_ms", pa.float32(), nullable=False),
        pa.field("worker", pa.int32(), nullable=False),  # its process id
        *(
            pa.field(name, pa.float32(), nullable=False) for name in FEATURES
        ),  # as the model read them, NaN where unknown
    ]
)


class Scored(NamedTuple):
    """One scored payment, with the columns of SCHEMA but for the features, which follow it in a row."""

    request_id: str
    at: datetime
    transaction_id: int
    timestamp: datetime
    model_version: str
    score: float
    blocked: bool
    explored: bool
    rung: Literal["fresh", "stale_features", "some_features", "no_features"]
    features_at: datetime | None
    latency_ms: float
    worker: int


def payment_log_of(home: Path) -> Path:
    """Where a workspace keeps how its service scored payments."""
    return home / "serving" / "scored-payments"


def read_scored(folder: Path, since: datetime | None = None, *, until: datetime | None = None) -> pa.Table:
    """All rows scored from `since` on and before `until`, in order of time. Raises ArtefactError as `read_predictions` does."""
    return read_predictions(folder, since, until=until, schema=SCHEMA)


def scores_of(scored: pa.Table) -> pa.Table:
    """The watch's table `scores`. Of a payment that was scored twice, as after a lost answer, the last score counts."""
    rows = _last_of_each(scored)
    live = pa.array(["live"] * len(rows), pa.string())
    columns = ("transaction_id", "model_version", "score", "blocked", "explored")
    return rows.select(columns).add_column(2, "role", live)


def features_online_of(scored: pa.Table) -> pa.Table:
    """The watch's table `features_online`: what the model read of each payment when it was last scored."""
    return _last_of_each(scored).select(["transaction_id", *FEATURES])


def _last_of_each(scored: pa.Table) -> pa.Table:
    """The last row of each payment, in the order of the log."""
    ids = scored["transaction_id"].to_numpy()
    _, from_the_end = np.unique(ids[::-1], return_index=True)
    return scored.take(pa.array(np.sort(len(ids) - 1 - from_the_end)))
