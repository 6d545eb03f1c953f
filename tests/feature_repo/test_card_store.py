"""The windows of customers and terminals in Feast: what `window_columns` computes, as it was known at each midnight."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo import feast_store
from feature_repo.card_features import CUSTOMER_WINDOWS, TERMINAL_WINDOWS, describe
from feature_repo.card_online import windows_of
from feature_repo.card_windows import window_columns
from feature_repo.definitions import CARDS, PAST_DAYS, service_version
from feature_repo.feast_store import FeastStore
from ingest.card_labels import LABELS
from ingest.card_world import TRANSACTIONS
from ingest.errors import FeatureError
from tests.feature_repo.issuer import WORLD, aged, day, known_at, midnight

TODAY = 60
NOW = midnight(TODAY)
NOBODY = 10_000_000
EVERYBODY = {
    "customer_id": np.array([*range(WORLD.customers), NOBODY]),
    "terminal_id": np.array([*range(WORLD.terminals), NOBODY]),
}
WINDOWS = {"customer_id": CUSTOMER_WINDOWS, "terminal_id": TERMINAL_WINDOWS}
Columns = dict[str, np.ndarray]


def new_store(folder: Path) -> FeastStore:
    store = FeastStore(folder, catalogue=CARDS)
    store.apply()
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeastStore:
    """A store that has lived through the midnights of yesterday and today; for tests that only read."""
    store = new_store(tmp_path_factory.mktemp("cards"))
    for number in (TODAY - 1, TODAY):
        store.write_rows(known_at(number), midnight(number))
        store.materialise(midnight(number))
    return store


def online(store: FeastStore, payments: Columns, as_of: datetime = NOW) -> Columns:
    return windows_of(*(store.online_rows(key, payments[key].tolist()) for key in WINDOWS), as_of)


def historical(store: FeastStore, payments: Columns, as_of: datetime) -> Columns:
    found = {key: store.historical(key, payments[key].tolist(), as_of) for key in WINDOWS}
    return {n: found[key][n].to_numpy(np.float64) for key, names in WINDOWS.items() for n in names}


def assert_same(found: Columns, expected: Columns) -> None:
    """To the last bit, NaN where NaN is expected."""
    assert list(found) == list(expected)
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_online_values_are_those_of_the_windows(store: FeastStore) -> None:
    """For every customer and terminal there is, and for one there is not."""
    expected = window_columns(known_at(TODAY), EVERYBODY)
    assert (expected["terminal_risk"] > 0).any()
    assert_same(online(store, EVERYBODY), expected)


@pytest.mark.parametrize("number", [TODAY - 1, TODAY])
def test_historical_values_are_those_of_the_windows(store: FeastStore, number: int) -> None:
    """Each midnight gives what was known then, also when a later one has been written."""
    assert_same(historical(store, EVERYBODY, midnight(number)), window_columns(known_at(number), EVERYBODY))


def test_a_days_payments_are_described_as_in_training(store: FeastStore) -> None:
    """From online rows to what the model reads, each payment with its own customer and terminal."""
    payments = day(TODAY).transactions
    columns = {name: payments[name].to_numpy(zero_copy_only=False) for name in payments.column_names}
    expected = describe(columns, window_columns(known_at(TODAY), columns))
    np.testing.assert_array_equal(describe(columns, online(store, columns)), expected)


def test_one_unknown_key_leaves_the_other_known(store: FeastStore) -> None:
    """A stranger at a known terminal, and a known customer at a new one."""
    known = np.flatnonzero(~np.isnan(window_columns(known_at(TODAY), EVERYBODY)["customer_count_7d"]))[0]
    [terminal] = day(TODAY - 1).transactions["terminal_id"].to_numpy()[:1]
    found = online(store, {"customer_id": np.array([NOBODY, known]), "terminal_id": np.array([terminal, NOBODY])})
    for names, unknown in ((CUSTOMER_WINDOWS, [True, False]), (TERMINAL_WINDOWS, [False, True])):
        assert [np.isnan(found[name]).tolist() for name in names] == [unknown] * len(names)


def test_rows_older_than_the_time_to_live_are_not_served(store: FeastStore) -> None:
    """Online stores keep a row for ever, and joins would find it: three days after midnight it is good, then it is not."""
    last = NOW + CARDS.ttl
    known = online(store, EVERYBODY)
    assert_same(online(store, EVERYBODY, last), known)
    assert_same(historical(store, EVERYBODY, last), known)
    late = last + timedelta(microseconds=1)
    for found in (online(store, EVERYBODY, late), historical(store, EVERYBODY, late)):
        assert all(np.isnan(values).all() for values in found.values())


def paid(number: int, *, customer: int | None = 1, terminal: int = 7, amount: float = 10.0) -> dict[str, object]:
    """A payment at noon of a day."""
    return {
        "transaction_id": number, "timestamp": midnight(number) + timedelta(hours=12), "customer_id": customer,
        "terminal_id": terminal, "amount": amount, "category": "fuel", "channel": "chip", "distance_km": 4.0,
    }  # fmt: skip


def past(payments: list[dict[str, object]], number: int, *labels: tuple[int, datetime]) -> pa.Table:
    """Payments as PAST has them at a midnight; of labels, the payment that each calls fraud and when it arrived."""
    said = [{"transaction_id": i, "source": "chargeback", "is_fraud": True, "arrived_at": at} for i, at in labels]
    return aged(pa.Table.from_pylist(payments, schema=TRANSACTIONS), pa.Table.from_pylist(said, schema=LABELS), number)


ONE = {"customer_id": np.array([1]), "terminal_id": np.array([7])}


def test_what_becomes_known_later_shows_from_its_midnight_on(tmp_path: Path) -> None:
    """A label that arrives an hour after midnight and a payment of the day itself are in the next day's rows only."""
    store, label = new_store(tmp_path), (10, midnight(20) + timedelta(hours=1))
    payments = [paid(10), paid(11), paid(20)]
    for number in (20, 21):
        store.write_rows(past(payments, number, label), midnight(number))
    seen = [historical(store, ONE, midnight(number)) for number in (20, 21)]
    assert [found["terminal_risk"].item() for found in seen] == [0.0, 1 / 22]
    assert [found["customer_count_28d"].item() for found in seen] == [2, 3]


@pytest.mark.parametrize(("window", "last_night"), [("customer_count_28d", 38), ("terminal_risk", 45)])
def test_who_fell_silent_is_unknown(tmp_path: Path, window: str, last_night: int) -> None:
    """When the last payment has left the longest window, an older row does not stand in, were it the oldest that is served."""
    store = new_store(tmp_path)
    for number in (last_night, last_night + CARDS.ttl.days):
        payments = [paid(10)] if number - 10 <= PAST_DAYS else []
        store.write_rows(past(payments, number), midnight(number))
        store.materialise(midnight(number))
        known = number == last_night
        for found in (online(store, ONE, midnight(number)), historical(store, ONE, midnight(number))):
            assert np.isnan(found[window]).tolist() == [not known]


PAYMENTS = st.lists(
    st.tuples(st.integers(0, 45), st.integers(0, 3), st.integers(0, 2), st.none() | st.integers(1, 30)),
    min_size=1,
    max_size=20,
)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=PAYMENTS)
def test_no_row_holds_what_was_not_known_at_its_midnight(
    drawn: list[tuple[int, int, int, int | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is paid or labelled from a midnight on: its rows are the same to the byte, and so is what is joined at it."""
    payments = [{**paid(n, customer=c, terminal=t), "transaction_id": i} for i, (n, c, t, _) in enumerate(drawn)]
    labels = [(i, midnight(n + late)) for i, (n, _, _, late) in enumerate(drawn) if late is not None]
    before = [p for p, (n, *_) in zip(payments, drawn, strict=True) if n < 40]
    everybody = {"customer_id": np.arange(4), "terminal_id": np.arange(3)}
    store = new_store(tmp_path_factory.mktemp("store"))
    store.write_rows(past(before, 40, *[(i, at) for i, at in labels if at < midnight(40)]), midnight(40))
    known, files = historical(store, everybody, midnight(40)), sorted(store.rows.rglob("*.parquet"))
    written = [file.read_bytes() for file in files]
    for number in (40, 41, 43):
        store.write_rows(past(payments, number, *labels), midnight(number))
    assert [file.read_bytes() for file in files] == written
    feast_store._joined.clear()  # joined anew, not remembered
    assert_same(historical(store, everybody, midnight(40)), known)


def test_a_payment_without_customer_is_nobodys(tmp_path: Path) -> None:
    """Feeds lose columns: such a payment counts for its terminal, and no row without a key reaches the online store."""
    store = new_store(tmp_path)
    counts = store.write_rows(past([paid(10), paid(11, customer=None)], 20), midnight(20))
    assert store.materialise(midnight(20))
    assert counts == {"customer_windows": 1, "terminal_windows": 1}
    found = online(store, ONE, midnight(20))
    assert (found["customer_count_28d"].item(), found["terminal_mean_amount"].item()) == (1, 10.0)


def test_values_keep_the_types_of_the_expressions(store: FeastStore) -> None:
    """Keys and counts are int64, the others float64, in the rows and read online."""
    schema = pq.read_schema(store.rows / "customer_windows" / f"{NOW:%Y-%m-%d}.parquet")
    assert [str(schema.field(n).type) for n in ("customer_id", "customer_count_1d")] == ["int64", "int64"]
    assert str(schema.field("customer_mean_amount").type) == "double"
    [row] = store.online_rows("customer_id", day(TODAY - 1).transactions["customer_id"].to_pylist()[:1])
    assert row is not None
    assert [type(row.values[n]) for n in ("customer_count_1d", "customer_mean_amount")] == [int, float]


def test_a_key_that_nothing_is_read_by_is_an_error(store: FeastStore, tmp_path: Path) -> None:
    """Neither another catalogue's key, nor one whose views are not read online."""
    with pytest.raises(FeatureError, match=r"by the key 'user_id'; the keys are \['customer_id', 'terminal_id'\]"):
        store.online_rows("user_id", ["a"])
    with pytest.raises(FeatureError, match=r"by the key 'item_id'; the keys are \['user_id'\]"):
        FeastStore(tmp_path).online_rows("item_id", ["x"])
    with pytest.raises(FeatureError, match=r"has the key 'user_id'"):
        store.historical("user_id", ["a"], NOW)


def test_a_store_that_nobody_has_applied_yet_does_not_answer(tmp_path: Path) -> None:
    """A service may start before the first midnight is written: it is told so, and served once it is."""
    early = FeastStore(tmp_path, catalogue=CARDS)
    with pytest.raises(FeatureError, match=r"holds no view 'customer_windows' yet, .* apply the definitions first"):
        early.online_rows("customer_id", [1])
    later = new_store(tmp_path)
    later.write_rows(past([paid(10)], 20), midnight(20))
    later.materialise(midnight(20))
    assert early.online_rows("customer_id", [1])[0] is not None


def test_each_catalogue_has_its_own_version() -> None:
    """Live rankers are bound to theirs: it is what it was before there were cards, and changes only with their features."""
    assert service_version() == "9ad0f69236f3"
    assert service_version(CARDS) != service_version()
