"""Features are there whatever the store does: fresh, else remembered, else none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import pytest

from feature_repo.feast_store import OnlineRow
from ingest.errors import FeatureError
from serving.feature_reader import FeatureReader, ReaderLimits, UserFeatures

ANNE, BOB = (OnlineRow({"user_orders": orders}, datetime(2026, 3, 2)) for orders in (3, 5))
NONE = UserFeatures(None, "no_features")

State = Literal["well", "refuses"]


class FakeStore:
    """Knows Anne and Bob; answers or refuses as it is told, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.state: State = "well"
        self.asked: list[list[str]] = []

    def online_rows(self, key: str, ids: Sequence[str]) -> list[OnlineRow | None]:
        assert key == "user_id"
        self.asked.append(list(ids))
        if self.state == "refuses":
            raise FeatureError("The online store does not answer.")
        return [{"anne": ANNE, "bob": BOB}.get(one) for one in ids]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def read(reader: FeatureReader, *user_ids: str) -> list[UserFeatures]:
    return reader.read(user_ids)


#    the rung is             because of what the store did at these seconds          for      with this row
LADDER: list[tuple[str, list[tuple[float, State]], str, OnlineRow | None]] = [
    ("fresh", [(0, "well")], "anne", ANNE),
    ("fresh", [(0, "well")], "nobody", None),  # that the store knows nobody of this name is an answer
    ("fresh", [(0, "refuses"), (1, "refuses"), (2, "well")], "anne", ANNE),
    ("stale_features", [(0, "well"), (0, "refuses")], "anne", ANNE),
    ("stale_features", [(0, "well"), (0, "refuses")], "nobody", None),
    ("stale_features", [(0, "well"), (3600, "refuses")], "anne", ANNE),
    ("stale_features", [(0, "well"), (3000, "well"), (6600, "refuses")], "anne", ANNE),  # each reading renews it
    ("stale_features", [(0, "well"), (3000, "refuses"), (3600, "refuses")], "anne", ANNE),
    ("no_features", [(0, "well"), (3600.1, "refuses")], "anne", None),
    ("no_features", [(0, "well"), (3000, "refuses"), (3600.1, "refuses")], "anne", None),  # and no refusal does
    ("no_features", [(0, "refuses")], "anne", None),
]


@pytest.mark.parametrize("case", LADDER)
def test_the_rung_follows_from_what_the_store_did(
    store: FakeStore, clock: Clock, case: tuple[str, list[tuple[float, State]], str, OnlineRow | None]
) -> None:
    """Fresh while it answers, remembered up to the limit and not just beyond it, else none."""
    rung, past, user_id, row = case
    reader = FeatureReader(store, clock=clock)
    for second, state in past:
        clock.now, store.state = 1_000 + second, state
        found = read(reader, user_id)
    assert found == [UserFeatures(row, rung)]  # type: ignore[arg-type]


def opened(store: FakeStore, clock: Clock) -> FeatureReader:
    """A reader whose store has just refused three times."""
    reader, store.state = FeatureReader(store, clock=clock), "refuses"
    for _ in range(3):
        read(reader, "anne")
    assert len(store.asked) == 3
    return reader


def test_a_store_that_failed_three_times_is_left_alone(store: FakeStore, clock: Clock) -> None:
    """For a second it is not asked, though it may be well again."""
    reader = opened(store, clock)
    store.state = "well"
    for second in (0.0, 0.5, 0.999):
        clock.now = 1_000 + second
        assert read(reader, "anne") == [NONE]
    assert len(store.asked) == 3


def test_a_store_that_is_well_again_is_asked_by_everybody(store: FakeStore, clock: Clock) -> None:
    """When the second is over one request tries, and after its answer the next ones are fresh, too."""
    reader = opened(store, clock)
    store.state, clock.now = "well", 1_001.0
    assert [read(reader, "anne") for _ in range(3)] == [[UserFeatures(ANNE, "fresh")]] * 3
    assert len(store.asked) == 6


def test_a_try_that_fails_leaves_the_store_alone_for_another_second(store: FakeStore, clock: Clock) -> None:
    """A store that stays down costs one request a second."""
    reader = opened(store, clock)
    for second, calls in [(1.0, 4), (1.5, 4), (1.999, 4), (2.0, 5), (2.5, 5), (3.0, 6)]:
        clock.now = 1_000 + second
        assert read(reader, "anne") == [NONE]
        assert len(store.asked) == calls


def test_only_failures_in_a_row_count(store: FakeStore, clock: Clock) -> None:
    """An answer in between shows that the store lives."""
    reader = FeatureReader(store, clock=clock)
    states: list[State] = ["refuses", "refuses", "well", "refuses", "refuses", "well"]
    for state in states:
        store.state = state
        found = read(reader, "anne")
    assert found == [UserFeatures(ANNE, "fresh")]
    assert len(store.asked) == 6


def test_no_more_customers_are_remembered_than_the_limit(store: FakeStore, clock: Clock) -> None:
    """Those who were read longest ago are forgotten first."""
    reader = FeatureReader(store, ReaderLimits(remembered=2, failures_to_open=100), clock)
    for user_id in ("anne", "bob", "anne", "nobody"):
        read(reader, user_id)
    store.state = "refuses"
    assert read(reader, "anne", "bob", "nobody") == [
        UserFeatures(ANNE, "stale_features"),
        NONE,
        UserFeatures(None, "stale_features"),
    ]


def test_some_customers_are_read_by_one_call_in_their_order(store: FakeStore, clock: Clock) -> None:
    """Each gets their own row, also one who is asked for twice."""
    reader = FeatureReader(store, clock=clock)
    found = read(reader, "bob", "nobody", "anne", "bob")
    assert [features.row for features in found] == [BOB, None, ANNE, BOB]
    assert store.asked == [["bob", "nobody", "anne", "bob"]]


def test_each_customer_stands_on_their_own_rung(store: FakeStore, clock: Clock) -> None:
    """When the store fails, who was read before is remembered and who was not has no features."""
    reader = FeatureReader(store, clock=clock)
    read(reader, "bob")
    store.state = "refuses"
    assert read(reader, "anne", "bob") == [NONE, UserFeatures(BOB, "stale_features")]
