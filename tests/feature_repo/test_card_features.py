"""The features of a card payment: windows that end at midnight, a risk that waits for labels, and NaN for the unknown."""

from __future__ import annotations

from datetime import datetime

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from feature_repo.card_features import (
    COVARIATES,
    CUSTOMER_WINDOWS,
    FEATURES,
    TERMINAL_WINDOWS,
    customer_windows,
    describe,
    terminal_windows,
)
from feature_repo.card_windows import window_columns
from ingest.card_world import TRANSACTIONS

SCHEMA = pa.schema([*TRANSACTIONS, ("age_days", pa.int64()), ("known_fraud", pa.bool_())])
PAST = ibis.table(ibis.Schema.from_pyarrow(SCHEMA), name="past")
SQL = {
    expression: str(ibis.to_sql(expression(PAST), dialect="duckdb"))
    for expression in (customer_windows, terminal_windows)
}
CONNECTION = duckdb.connect(config={"threads": 1})


def paid(age: int, **otherwise: object) -> dict[str, object]:
    """A payment of customer 1 at terminal 7 at noon, so many days before the one being scored."""
    return {
        "transaction_id": age, "timestamp": datetime(2025, 3, 1, 12), "customer_id": 1, "terminal_id": 7, "amount": 10.0,
        "category": "fuel", "channel": "chip", "distance_km": 4.0, "age_days": age, "known_fraud": False, **otherwise,
    }  # fmt: skip


def past(*payments: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(payments), schema=SCHEMA)


def rows(expression: object, *payments: dict[str, object]) -> pd.DataFrame:
    """What an expression gives in DuckDB, by key."""
    CONNECTION.register("past", past(*payments))
    found = CONNECTION.sql(SQL[expression]).df()  # type: ignore[index]
    return found.set_index(found.columns[0]).sort_index()


def test_customer_windows_count_days_back_from_midnight() -> None:
    """Yesterday, the last seven days and the last twenty-eight, their last day included."""
    row = rows(customer_windows, *(paid(age) for age in (1, 1, 2, 7, 8, 28, 29))).loc[1]
    assert row[["customer_count_1d", "customer_count_7d", "customer_count_28d"]].tolist() == [2, 4, 6]


@pytest.mark.parametrize("age", [0, -1, -30])
@pytest.mark.parametrize("expression", [customer_windows, terminal_windows])
def test_nothing_of_the_day_being_scored_or_after_it_counts(expression: object, age: int) -> None:
    """A payment's own day ends after it: windows are the same with and without it, and alone it is no row."""
    payments = [paid(1), paid(9, known_fraud=True)]
    of_the_day = paid(age, amount=9_000.0, distance_km=900.0, channel="online", known_fraud=True)
    pd.testing.assert_frame_equal(rows(expression, *payments, of_the_day), rows(expression, *payments))
    assert rows(expression, of_the_day).empty


def test_customer_windows_tell_how_somebody_pays() -> None:
    """Means to the cent, and shares of nights before six and of web shops."""
    night, six = datetime(2025, 3, 1, 5, 59), datetime(2025, 3, 1, 6)
    row = rows(
        customer_windows,
        paid(1, amount=10.0, distance_km=1.0, timestamp=night),
        paid(2, amount=20.5, distance_km=0.0, channel="online", timestamp=six),
        paid(28, amount=30.0, distance_km=5.0),
        paid(28, amount=0.5, distance_km=None),
    ).loc[1]
    assert row["customer_mean_amount"] == 15.25
    assert row["customer_mean_distance"] == 2.0  # what is missing is left out
    assert row["customer_night_share"] == 0.25
    assert row["customer_online_share"] == 0.25


def test_each_key_has_its_own_row() -> None:
    """Another customer's payment at the same terminal is the terminal's, and no other customer's."""
    payments = [paid(1), paid(1, customer_id=2, amount=30.0)]
    assert rows(customer_windows, *payments)["customer_mean_amount"].to_dict() == {1: 10.0, 2: 30.0}
    assert rows(terminal_windows, *payments)["terminal_mean_amount"].to_dict() == {7: 20.0}


#    payments at a terminal                                    its risk
RISKS = [
    ([paid(8)], 0.0),
    ([paid(8, known_fraud=True)], 1 / 21),  # twenty good ones are added
    ([paid(35, known_fraud=True)], 1 / 21),
    ([paid(8, known_fraud=True), paid(9)], 1 / 22),
    ([paid(7, known_fraud=True)], 0.0),  # too young: most fraud of that age is not known
    ([paid(1, known_fraud=True), paid(8)], 0.0),
    ([paid(7), paid(8, known_fraud=True)], 1 / 21),  # nor do the young count as good
    ([paid(36, known_fraud=True), paid(8)], 0.0),  # too old
]


@pytest.mark.parametrize(("payments", "risk"), RISKS)
def test_a_terminals_risk_counts_settled_payments_only(payments: list[dict[str, object]], risk: float) -> None:
    """Those of more than a week and up to five weeks ago; fraud is what some label that had arrived calls so."""
    assert rows(terminal_windows, *payments).loc[7, "terminal_risk"] == pytest.approx(risk)


def test_a_terminals_other_windows_do_not_wait_for_labels() -> None:
    """Its count is of seven days, its mean and nights of twenty-eight."""
    night = datetime(2025, 3, 1, 1)
    payments = [
        paid(1),
        paid(7),
        paid(8),
        paid(28, amount=50.0, timestamp=night),
        paid(29, amount=900.0, timestamp=night),
    ]
    row = rows(terminal_windows, *payments).loc[7]
    assert (row["terminal_count_7d"], row["terminal_mean_amount"], row["terminal_night_share"]) == (2, 20.0, 0.25)


@settings(max_examples=20)
@given(
    ages=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    later=st.lists(st.integers(-40, 0), min_size=1, max_size=8),
)
def test_the_future_changes_no_window(ages: list[int], later: list[int]) -> None:
    """Whatever comes on the day or after it."""
    before = [paid(age, known_fraud=age % 2 == 0) for age in ages]
    after = [paid(age, amount=77.0, known_fraud=True) for age in later]
    for expression in (customer_windows, terminal_windows):
        pd.testing.assert_frame_equal(rows(expression, *before, *after), rows(expression, *before))


def payments_of(**columns: list[object]) -> dict[str, NDArray]:
    """Columns of the feed for payments being scored; a single one of customer 1 at terminal 7 by default."""
    size = len(next(iter(columns.values()), [0]))
    usual = {
        "timestamp": [datetime(2025, 3, 9, 18, 30)], "customer_id": [1], "terminal_id": [7], "amount": [22.0],
        "category": ["fuel"], "channel": ["online"], "distance_km": [10.0],
    }  # fmt: skip
    kinds = {"timestamp": "datetime64[us]", "category": object, "channel": object}
    return {name: np.array(columns.get(name, of * size), kinds.get(name)) for name, of in usual.items()}


def described(columns: dict[str, NDArray], *payments: dict[str, object]) -> dict[str, list[float]]:
    """The features by name, with the windows of payments before."""
    found = describe(columns, window_columns(past(*payments) if payments else None, columns))
    assert found.dtype == np.float32
    return dict(zip(FEATURES, found.T.tolist(), strict=True))


def test_a_payment_is_described_by_itself_and_by_what_was_before() -> None:
    """Hours are counted from midnight, and a ratio has one more below its line."""
    found = described(payments_of(), paid(1), paid(8, known_fraud=True))
    assert found == {
        "amount": [22.0], "distance_km": [10.0], "hour": [18.5], "online": [1.0], "category": [1.0],
        "amount_over_usual": [2.0], "distance_over_usual": [2.0], "customer_count_1d": [1.0],
        "customer_count_7d": [1.0], "customer_count_28d": [2.0], "customer_mean_amount": [10.0],
        "customer_mean_distance": [4.0], "customer_night_share": [0.0], "customer_online_share": [0.0],
        "terminal_count_7d": [1.0], "terminal_mean_amount": [10.0], "terminal_night_share": [0.0],
        "terminal_risk": [pytest.approx(1 / 21)],
    }  # fmt: skip


@pytest.mark.parametrize("payments", [[], [paid(1, customer_id=9, terminal_id=9)]])
def test_whoever_is_new_has_no_windows(payments: list[dict[str, object]]) -> None:
    """A customer and a terminal of which nothing is known have NaN, not zero; the payment itself is known."""
    found = described(payments_of(), *payments)
    unknown = {name for name, values in found.items() if np.isnan(values).all()}
    assert unknown == {*CUSTOMER_WINDOWS, *TERMINAL_WINDOWS, "amount_over_usual", "distance_over_usual"}


def test_each_payment_gets_the_windows_of_its_own_customer_and_terminal() -> None:
    """In the order of the payments, known or not."""
    columns = payments_of(customer_id=[5, 1, 2, 1], terminal_id=[7, 8, 7, 6])
    found = described(columns, paid(1), paid(1, customer_id=2, amount=30.0), paid(2, customer_id=2, terminal_id=8))
    assert found["customer_mean_amount"] == [pytest.approx(np.nan, nan_ok=True), 10.0, 20.0, 10.0]
    assert found["terminal_count_7d"] == [2.0, 1.0, 2.0, pytest.approx(np.nan, nan_ok=True)]


def test_a_category_nobody_announced_is_unknown() -> None:
    """It has no number of its own, and neither has one that is missing."""
    found = described(payments_of(category=["groceries", "vouchers", None, "digital"]))
    assert found["category"] == [0.0, *[pytest.approx(np.nan, nan_ok=True)] * 2, 7.0]


def test_missing_values_are_unknown() -> None:
    """A payment without amount or distance has no ratio either."""
    found = described(payments_of(amount=[np.nan], distance_km=[np.nan]), paid(1))
    unknown = {name for name, values in found.items() if np.isnan(values).all()}
    assert unknown == {"amount", "distance_km", "amount_over_usual", "distance_over_usual"}


@pytest.mark.parametrize(
    ("column", "feature"),
    [
        ("timestamp", "hour"),
        ("channel", "online"),
    ],
)
def test_a_missing_moment_or_channel_is_unknown(column: str, feature: str) -> None:
    """Neither is an hour nor a chip."""
    assert np.isnan(described(payments_of(**{column: [None]}))[feature]).all()


def test_only_the_risk_is_made_from_labels() -> None:
    """Whatever labels say, covariates stay: their drift is that of payments."""
    payments = [[paid(age, known_fraud=fraud) for age in (1, 8, 30)] for fraud in (False, True)]
    without, with_fraud = (described(payments_of(), *of) for of in payments)
    changed = {name for name in FEATURES if without[name] != with_fraud[name]}
    assert changed == {"terminal_risk"} == set(FEATURES) - set(COVARIATES)
