"""The tables that everything about the fraud model is read from, whoever fills them; docs/fraud.md says what each is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pandas as pd
import pyarrow as pa

from ingest.card_world import TRANSACTIONS

#: What each table must hold; columns of transactions may be missing, which is then found.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "transactions": tuple(TRANSACTIONS.names),
    "scores": ("transaction_id", "model_version", "score"),
    "features_offline": ("transaction_id",),
    "features_online": ("transaction_id",),
    "labels": ("transaction_id", "source", "is_fraud", "arrived_at"),
    "audits": ("transaction_id", "reason", "is_fraud", "arrived_at"),
    "releases": ("model_version", "released_at", "replaces"),
    "training_labels": ("model_version", "transaction_id", "is_fraud"),
    "calendar": ("first_day", "last_day", "name"),
}
OPTIONAL = tuple(name for name in COLUMNS if name not in ("transactions", "scores"))

#: What cannot be seen without each of the others.
BLIND_WITHOUT: Mapping[str, str] = {
    "features_offline": "drift of what the model reads, and skew",
    "features_online": "whether the service reads what the lake holds",
    "labels": "quality, and everything about fraud",
    "audits": "whether labels are right",
    "releases": "whether the newest version is worse than the one before",
    "training_labels": "what a version learned from",
    "calendar": "whether a festival explains a shift",
}


@dataclass(frozen=True, eq=False)
class Tables:
    """What is known about payments, scores, labels and releases; only what had arrived by a moment is ever read at it."""

    batches: Mapping[date, pa.Table]
    """Transactions as they were delivered, by day."""
    scores: pd.DataFrame
    labels: pd.DataFrame
    features_offline: pa.Table | None = None
    features_online: pa.Table | None = None
    audits: pd.DataFrame | None = None
    releases: pd.DataFrame | None = None
    training_labels: pd.DataFrame | None = None
    calendar: pd.DataFrame | None = None
