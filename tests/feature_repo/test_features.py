"""The set-based features: what they count, and that they never look ahead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.features import item_features, user_features, user_history

MONDAY = datetime(2020, 3, 2)
EXPRESSIONS = (user_features, item_features, user_history)
Expression = Callable[[ibis.Table, datetime], ibis.Table]


def log(*events: tuple[str, str, float], kind: str = "purchase") -> pd.DataFrame:
    """Purchases as (user, item, days before MONDAY)."""
    rows = [
        (user, item, kind, MONDAY - timedelta(days=days), 2.0, 1.5, f"red {item}", "France")
        for user, item, days in events
    ]
    columns = ["user_id", "item_id", "event", "event_time", "quantity", "price", "item_text", "country"]
    return pd.DataFrame(rows, columns=columns).astype({"event_time": "datetime64[us]"})


def compute(expression: Expression, events: pd.DataFrame) -> pd.DataFrame:
    rows = expression(ibis.memtable(events), MONDAY).to_pandas()
    return rows.sort_values(rows.columns[0], ignore_index=True)


def test_windows_count_whole_days_back_from_the_moment() -> None:
    """A purchase 28 days ago to the second belongs to the last four weeks; one a second older does not."""
    inside, outside = log(("u", "a", 28)), log(("u", "a", 28 + 1 / 86_400))

    assert compute(item_features, inside)["item_purchases_4w"].tolist() == [1]
    assert compute(item_features, outside)["item_purchases_4w"].tolist() == [0]


def test_a_line_split_over_two_invoices_is_one_purchase() -> None:
    """Customer, item and day make a purchase."""
    rows = compute(item_features, log(("u", "a", 3.1), ("u", "a", 3.2), ("u", "a", 9)))

    assert rows["item_purchases"].tolist() == [2]
    assert rows["item_repeats_1w"].tolist() == [1]
    assert rows["item_repeat_share"].tolist() == [1.0]


def test_customer_features_describe_rhythm_and_breadth() -> None:
    """Orders are days with purchases."""
    row = compute(user_features, log(("u", "a", 1.5), ("u", "b", 1.5), ("u", "a", 40.5))).iloc[0]

    assert (row["user_orders"], row["user_orders_4w"], row["user_purchases"], row["user_items"]) == (2, 1, 3, 2)
    assert (row["user_days_since_last"], row["user_tenure_days"], row["user_repeat_share"]) == (1, 40, 0.5)
    assert row["user_country"] == "France"


def test_history_lists_the_most_recent_first() -> None:
    """The arrays run in parallel, and recency is counted in days and in the customer's own orders."""
    row = compute(
        user_history, log(("u", "old", 50.5), ("u", "both", 50.5), ("u", "both", 2.5), ("u", "mid", 9.5))
    ).iloc[0]

    assert list(row["history_item_ids"]) == ["both", "mid", "old"]
    assert list(row["history_orders"]) == [2, 1, 1]
    assert list(row["history_days_since_last"]) == [2, 9, 50]
    assert list(row["history_orders_since"]) == [0, 1, 2]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_rows_are_stamped_with_the_moment_they_became_available(expression: Expression) -> None:
    """Point-in-time joins rely on the stamp."""
    assert compute(expression, log(("u", "a", 1)))["available_at"].tolist() == [pd.Timestamp(MONDAY)]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_only_purchases_count(expression: Expression) -> None:
    """Returns and views are no purchases."""
    assert compute(expression, log(("u", "a", 1), kind="return")).empty


EVENTS = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from("abc"), st.integers(-20, 60).map(float)), min_size=1, max_size=12
)


@settings(max_examples=6)
@given(events=EVENTS, expression=st.sampled_from(EXPRESSIONS), shuffle_seed=st.integers(0, 99))
def test_neither_the_future_nor_the_order_of_rows_matters(
    events: list[tuple[str, str, float]], expression: Expression, shuffle_seed: int
) -> None:
    """What happens at the moment or after it changes nothing, and float sums do not depend on who adds first."""
    past = log(("u", "a", 5.0), *[event for event in events if event[2] > 0])
    everything = log(("u", "a", 5.0), *events).sample(frac=1, random_state=shuffle_seed)

    pd.testing.assert_frame_equal(compute(expression, past), compute(expression, everything), check_exact=True)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_threads_do_not_change_the_bits(expression: Expression) -> None:
    """However many threads add up a log of several row groups, the features are equal to the bit: fractions too."""
    rng, n = np.random.default_rng(0), 250_000
    events = pd.DataFrame(
        {
            "user_id": rng.integers(0, 50, n).astype(str),
            "item_id": rng.integers(0, 20, n).astype(str),
            "event": "purchase",
            "event_time": np.datetime64(MONDAY, "us") - rng.integers(1, 60 * 86_400, n).astype("timedelta64[s]"),
            "quantity": rng.random(n) * 10,
            "price": rng.random(n),
            "item_text": "red",
            "country": "France",
        }
    )

    def on(threads: int) -> pd.DataFrame:
        connection = ibis.duckdb.connect()
        connection.raw_sql(f"SET threads = {threads}")
        connection.con.register("interactions", pa.Table.from_pandas(events))
        rows = expression(connection.table("interactions"), MONDAY)
        return rows.order_by(rows.columns[0]).to_pandas()

    pd.testing.assert_frame_equal(on(4), on(1), check_exact=True)
