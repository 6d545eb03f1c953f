"""Read back what a workspace's days say of payments, and what was said of them by a moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feature_repo.card_features import FEATURES
from ingest.card_audit import AUDITS
from ingest.card_labels import LABELS
from training.fraud.card_days import CardDays
from training.fraud.examples import Decided, Payments

EPOCH = datetime(1970, 1, 1)
NEEDED = ("features_offline", "features_online", "scores", "labels")
FeatureTable = Literal["features_offline", "features_online"]


def moment_of(as_of: datetime) -> float:
    """Days since 1970, as label books count."""
    return (as_of - EPOCH) / timedelta(days=1)


def numbers_of(days: Collection[date]) -> NDArray[np.int64]:
    """Days as numbers since 1970."""
    return np.array(list(days), "datetime64[D]").astype(np.int64)


def whole_days(cards: CardDays, days: Iterable[date]) -> tuple[date, ...]:
    """Those of which every table was written: a day without its labels would be learned as a day without fraud."""
    return tuple(day for day in days if all(cards.path(table, day).exists() for table in NEEDED))


def festive_days(cards: CardDays) -> frozenset[date]:
    """The days that the calendar names, if there is one."""
    path = cards.tables / "calendar.parquet"
    events = pq.read_table(path, columns=["first_day", "last_day"]).to_pylist() if path.exists() else []
    return frozenset(
        event["first_day"] + timedelta(days=number)
        for event in events
        for number in range((event["last_day"] - event["first_day"]).days + 1)
    )


def read_payments(cards: CardDays, days: Iterable[date], features: FeatureTable) -> Payments:
    """The payments of whole days, each once, with what was known of them (`features_offline`) or served (`features_online`)."""
    parts = [_payments_on(cards, day, features) for day in days] or [_NO_PAYMENTS]
    ids, described, decided, numbers = zip(*parts, strict=True)
    return Payments(
        np.concatenate(ids),
        np.concatenate(described),
        Decided(*(np.concatenate(flags) for flags in zip(*decided, strict=True))),
        np.concatenate(numbers),
    )


def read_labels(cards: CardDays, days: Iterable[date], as_of: datetime) -> pd.DataFrame:
    """What had been said of the payments of whole days by a moment."""
    parts = [pq.read_table(cards.path("labels", day)) for day in days]
    return arrived_by(pa.concat_tables([LABELS.empty_table(), *parts], promote_options="permissive").to_pandas(), as_of)


def read_audits(cards: CardDays, days: Sequence[date]) -> pd.DataFrame:
    """The audits that were drawn on some days, arrived or not, with `drawn_on` (day number)."""
    known = [day for day in days if cards.path("audits", day).exists()]
    parts = [pq.read_table(cards.path("audits", day)) for day in known]
    every = pa.concat_tables([AUDITS.empty_table(), *parts], promote_options="permissive").to_pandas()
    return every.assign(drawn_on=np.repeat(numbers_of(known), [len(part) for part in parts]))


def arrived_by(rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Labels or audits that had arrived by a moment."""
    return rows[rows["arrived_at"] < as_of]


def _payments_on(cards: CardDays, day: date, features: FeatureTable) -> Payments:
    table = pq.read_table(cards.path(features, day), columns=["transaction_id", *FEATURES])
    # What was delivered twice is one payment; its labels are those of the first.
    ids, first = np.unique(table["transaction_id"].to_numpy(), return_index=True)
    described = np.column_stack([table[name].to_numpy() for name in FEATURES]).astype(np.float32)[first]
    scores = pq.read_table(cards.path("scores", day), filters=[("role", "=", "live")]).to_pandas()
    decided = Decided(*(np.isin(ids, scores.loc[scores[what], "transaction_id"]) for what in ("blocked", "explored")))
    return Payments(ids, described, decided, np.full(len(ids), numbers_of([day])[0]))


_NO_PAYMENTS = Payments(
    np.empty(0, np.int64),
    np.empty((0, len(FEATURES)), np.float32),
    Decided(np.empty(0, bool), np.empty(0, bool)),
    np.empty(0, np.int64),
)
