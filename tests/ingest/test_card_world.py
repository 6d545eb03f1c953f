"""The card world gives the same days to everybody who asks, and changes only what an incident changes."""

from __future__ import annotations

from collections import Counter
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.card_world import FESTIVALS, TRANSACTIONS, TRUTH, USUAL, CardSettings, CardWorld, Change, Day
from ingest.errors import SettingsError

WORLD = CardWorld(CardSettings(seed=3, per_day=1_000))
HUNTED = CardWorld(CardSettings(seed=3, per_day=1_000, fraud_share=0.1))  # so that every pattern is seen on every day


def frame(day: Day) -> pd.DataFrame:
    return day.transactions.to_pandas().merge(day.truth.to_pandas(), on="transaction_id", validate="1:1")


def weeks(change: Change = USUAL, days: range = range(28)) -> pd.DataFrame:
    return pd.concat([frame(WORLD.day(day, lambda _: change)) for day in days], ignore_index=True)


@settings(max_examples=8)
@given(day=st.integers(0, 700))
def test_a_day_is_the_same_whoever_asks_and_when(day: int) -> None:
    """By another world of the same seed, and by one that was asked for another day before."""
    other = CardWorld(WORLD.settings)
    other.day(day + 1)
    assert other.day(day) == WORLD.day(day)


def test_another_seed_is_another_world() -> None:
    """Other people pay other amounts."""
    other = CardWorld(CardSettings(seed=4, per_day=1_000)).day(0).transactions
    assert other["amount"].to_pylist()[:50] != WORLD.day(0).transactions["amount"].to_pylist()[:50]


@settings(max_examples=6)
@given(
    first=st.integers(20, 60),
    change=st.sampled_from([Change(fraud=4), Change(disguise=1), Change(amounts=2), Change(far=0.5)]),
)
def test_an_incident_changes_no_day_before_it(first: int, change: Change) -> None:
    """Not even by what began earlier, such as a stolen card."""

    def from_then_on(day: int) -> Change:
        return change if day >= first else USUAL

    assert HUNTED.day(first - 1, from_then_on) == HUNTED.day(first - 1)
    assert HUNTED.day(first, from_then_on) != HUNTED.day(first)


def test_rows_are_what_the_schema_says_in_order_of_time() -> None:
    """Ids and moments rise, a day's moments are its own, and every transaction has its truth."""
    day = WORLD.day(5)
    assert (day.transactions.schema, day.truth.schema) == (TRANSACTIONS, TRUTH)
    rows = frame(day)
    assert rows["transaction_id"].is_monotonic_increasing
    assert rows["timestamp"].is_monotonic_increasing
    assert set(rows["timestamp"].dt.date) == {WORLD.date_of(5)}
    assert (rows["pattern"].notna() == rows["is_fraud"]).all()
    assert rows.drop(columns="pattern").notna().all(axis=None)
    assert (rows["amount"] > 0).all()


def test_about_as_much_is_paid_and_stolen_as_was_asked_for() -> None:
    """Over weeks without a festival: the transactions of a day, the share of fraud, and that of each known pattern."""
    rows = weeks()
    assert len(rows) / 28 == pytest.approx(1_010, rel=0.05)
    assert rows["is_fraud"].mean() == pytest.approx(0.01, rel=0.25)
    counts = Counter(rows["pattern"].dropna())
    assert set(counts) == {"stolen_card", "skimmed_terminal", "card_testing"}
    assert counts["stolen_card"] / counts.total() == pytest.approx(0.45, abs=0.15)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [(Change(mix={"takeover": 1.0}), "takeover"), (Change(mix={"card_testing": 1.0}), "card_testing")],
)
def test_the_mix_of_patterns_is_the_one_asked_for(change: Change, pattern: str) -> None:
    """A new pattern takes the place of the known ones."""
    assert set(weeks(change, range(14))["pattern"].dropna()) == {pattern}


def test_a_thief_in_disguise_pays_like_the_owner() -> None:
    """In full disguise the amounts and the distances of stolen cards are those of good transactions."""
    for disguise, apart in [(0.0, True), (1.0, False)]:
        rows = weeks(Change(fraud=5, disguise=disguise))
        stolen, good = rows[rows["pattern"] == "stolen_card"], rows[~rows["is_fraud"]]
        assert (stolen["amount"].median() > 2 * good["amount"].median()) == apart
        assert (stolen["distance_km"].median() > 2 * good["distance_km"].median()) == apart


def test_festivals_are_in_the_calendar_and_in_the_tills() -> None:
    """Each falls on its days, every year, and people then pay more often."""
    named = {WORLD.festival_on(day).name for day in range(365) if WORLD.festival_on(day)}  # type: ignore[union-attr]
    assert named == {festival.name for festival in FESTIVALS}
    november = (date(2025, 11, 27) - WORLD.settings.start).days
    assert WORLD.festival_on(november) == WORLD.festival_on(november + 365)
    assert WORLD.festival_on(november - 1) is None
    assert len(WORLD.day(november).transactions) > 1.3 * len(WORLD.day(november - 7).transactions)


def test_wanted_categories_are_chosen_more_often() -> None:
    """A shift of what people buy moves the share of what they want and leaves the volume."""
    usual, shifted = weeks(), weeks(Change(categories={"electronics": 3.0}))
    share = [(rows["category"] == "electronics").mean() for rows in (usual, shifted)]
    assert share[1] > 2 * share[0]
    assert len(shifted) == pytest.approx(len(usual), rel=0.02)


@pytest.mark.parametrize("wrong", [{"per_day": 10}, {"per_day": 10**6}, {"fraud_share": 0.0}, {"fraud_share": 0.5}])
def test_what_cannot_be_simulated_is_refused(wrong: dict[str, float]) -> None:
    """With what to choose instead."""
    with pytest.raises(SettingsError, match="per_day is 500 to 100,000"):
        CardSettings(**wrong)  # type: ignore[arg-type]


def test_a_column_of_a_day_is_no_copy_of_another() -> None:
    """Customers pay at several terminals, and terminals see several customers."""
    rows = weeks(days=range(3))
    assert rows.groupby("customer_id")["terminal_id"].nunique().mean() > 1
    assert rows.groupby("terminal_id")["customer_id"].nunique().mean() > 2
    assert isinstance(WORLD.day(0).transactions, pa.Table)
    assert np.corrcoef(rows["customer_id"], rows["terminal_id"])[0, 1] < 0.2
