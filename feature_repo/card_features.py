"""The features of a card transaction: windows of its customer and its terminal as Ibis expressions, and what it adds itself.

Windows end at midnight, so that a day's rows are computed once, and nothing of the transaction being scored is in them. Each
expression takes transactions with `age_days`, the whole days between a payment's day and the one being scored (1 is
yesterday), and gives one row per key; a store stamps them with the midnight on which they became available.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from ibis import _
from ibis.expr.types import Table, Value
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Lineage = Literal["transaction", "windows", "labels"]

WINDOW_DAYS = 28
RISK_DELAY_DAYS = 7
"""Fraud younger than a week is mostly unknown yet: counting it as good would make every terminal look safe."""
RISK_PRIOR = 20
"""So many good payments are added to each terminal's, so that one fraud out of two is not a risk of a half."""
NIGHT_ENDS = 6
CATEGORIES = ("groceries", "fuel", "restaurant", "clothes", "electronics", "gifts", "travel", "digital")

#: Each feature, in the model's order, and what it is made from. Drift in what is made from labels says nothing about payments.
FEATURES: Mapping[str, Lineage] = {
    "amount": "transaction",
    "distance_km": "transaction",
    "hour": "transaction",
    "online": "transaction",
    "category": "transaction",
    "amount_over_usual": "windows",
    "distance_over_usual": "windows",
    "customer_count_1d": "windows",
    "customer_count_7d": "windows",
    "customer_count_28d": "windows",
    "customer_mean_amount": "windows",
    "customer_mean_distance": "windows",
    "customer_night_share": "windows",
    "customer_online_share": "windows",
    "terminal_count_7d": "windows",
    "terminal_mean_amount": "windows",
    "terminal_night_share": "windows",
    "terminal_risk": "labels",
}
COVARIATES = tuple(name for name, lineage in FEATURES.items() if lineage != "labels")

CUSTOMER_WINDOWS = tuple(name for name in FEATURES if name.startswith("customer_"))
TERMINAL_WINDOWS = tuple(name for name in FEATURES if name.startswith("terminal_"))


def customer_windows(transactions: Table) -> Table:
    """How often, how much, how far and when each customer paid; one row per `customer_id`."""
    known = _within(transactions, 1, WINDOW_DAYS)
    return known.group_by("customer_id").agg(
        customer_count_1d=_.count(where=_.age_days == 1),
        customer_count_7d=_.count(where=_.age_days <= 7),
        customer_count_28d=_.count(),
        customer_mean_amount=_exact_mean(_.amount),
        customer_mean_distance=_exact_mean(_.distance_km),
        customer_night_share=_share(_night()),
        customer_online_share=_share(_.channel == "online"),
    )


def terminal_windows(transactions: Table) -> Table:
    """How much is paid at each terminal, when, and how much of it was fraud; one row per `terminal_id`.

    `known_fraud` says of each transaction whether some label that had arrived by midnight called it fraud.
    """
    known = _within(transactions, 1, RISK_DELAY_DAYS + WINDOW_DAYS)
    recent, settled = _.age_days <= WINDOW_DAYS, _.age_days > RISK_DELAY_DAYS
    return known.group_by("terminal_id").agg(
        terminal_count_7d=_.count(where=_.age_days <= 7),
        terminal_mean_amount=_exact_mean(_.amount, where=recent),
        terminal_night_share=_share(_night(), where=recent),
        terminal_risk=_.count(where=settled & _.known_fraud) / (_.count(where=settled) + RISK_PRIOR),
    )


def describe(transactions: Mapping[str, NDArray], windows: Mapping[str, NDArray]) -> Floats:
    """What the model reads of each transaction: rows x FEATURES, NaN where nothing is known.

    `transactions` has the columns of the feed, `windows` those of its customer's and its terminal's rows, NaN for whom
    there is none. Training, batch and serving call this one function.
    """
    amount, distance = (np.asarray(transactions[name], np.float64) for name in ("amount", "distance_km"))
    moments = np.asarray(transactions["timestamp"], "datetime64[s]")
    of_day = (moments - moments.astype("datetime64[D]")).astype(np.int64)
    known = {name: np.asarray(windows[name], np.float64) for name in (*CUSTOMER_WINDOWS, *TERMINAL_WINDOWS)}
    own = {
        "amount": amount,
        "distance_km": distance,
        "hour": np.where(np.isnat(moments), np.nan, of_day / 3600),
        "online": _online(np.asarray(transactions["channel"], object)),
        "category": _number_of(np.asarray(transactions["category"])),
        "amount_over_usual": amount / (known["customer_mean_amount"] + 1),
        "distance_over_usual": distance / (known["customer_mean_distance"] + 1),
    }
    return np.column_stack([{**own, **known}[name] for name in FEATURES]).astype(np.float32)


def _online(channels: NDArray) -> NDArray[np.float64]:
    """1 for a web shop, 0 for a card in a reader, NaN for what is not known."""
    return np.where(pd.isna(channels), np.nan, channels == "online")


def _number_of(categories: NDArray) -> NDArray[np.float64]:
    """The number of each category, NaN for one that is not known."""
    numbers = np.full(len(categories), np.nan)
    for number, name in enumerate(CATEGORIES):
        numbers[categories == name] = number
    return numbers


def _within(transactions: Table, newest: int, oldest: int) -> Table:
    return transactions.filter(_.age_days >= newest, _.age_days <= oldest)


def _night() -> Value:
    return _.timestamp.hour() < NIGHT_ENDS


def _share(condition: Value, where: Value | None = None) -> Value:
    return condition.cast("int64").mean(where=where)


def _exact_mean(value: Value, where: Value | None = None) -> Value:
    """Over integers, because engines add floats in whatever order their threads finish."""
    return (value * 100).round().cast("int64").mean(where=where) / 100
