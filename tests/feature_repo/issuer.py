"""A small card issuer for the tests of the card features: its days, a few labels, and what was known of both at a midnight."""

from __future__ import annotations

from datetime import datetime, time
from functools import cache

import numpy as np
import pyarrow as pa

from feature_repo.card_windows import PAST
from feature_repo.definitions import PAST_DAYS
from ingest.card_labels import LabelSettings, labels_of
from ingest.card_world import CardSettings, CardWorld, Day

WORLD = CardWorld(CardSettings(seed=3, per_day=500, fraud_share=0.05))


@cache
def day(number: int) -> Day:
    return WORLD.day(number)


@cache
def labels(number: int) -> pa.Table:
    """The labels of a day's payments, whenever they arrive."""
    amounts = day(number).transactions["amount"].to_numpy()
    rng = np.random.default_rng(number)
    return labels_of(day(number), amounts, amounts > 200, LabelSettings(reviews_a_day=20), rng)


def midnight(number: int) -> datetime:
    """The moment at which a day begins."""
    return datetime.combine(WORLD.date_of(number), time())


def known_at(number: int) -> pa.Table:
    """The payments before a day, as PAST has them, with what labels had said of them by its midnight."""
    days = range(number - PAST_DAYS, number)
    every = pa.concat_tables([labels(n) for n in days])
    return pa.concat_tables([aged(day(n).transactions, every, number) for n in days])


def aged(payments: pa.Table, every_label: pa.Table, number: int) -> pa.Table:
    """Payments with their age on a day's midnight, and whether a label that had arrived by then called them fraud."""
    moment = np.datetime64(midnight(number))
    arrived = every_label["arrived_at"].to_numpy() < moment
    said = every_label["transaction_id"].to_numpy()[arrived & every_label["is_fraud"].to_numpy(zero_copy_only=False)]
    days = moment.astype("datetime64[D]") - payments["timestamp"].to_numpy().astype("datetime64[D]")
    known_fraud = np.isin(payments["transaction_id"].to_numpy(), said)
    columns = {"age_days": days.astype(np.int64), "known_fraud": known_fraud}
    return pa.table({**{n: payments[n] for n in payments.column_names}, **columns}).cast(PAST)
