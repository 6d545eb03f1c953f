"""The feature store gives back what was known at a moment, offline and online alike."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from feature_repo import feast_store
from feature_repo.definitions import RECOMMENDER
from feature_repo.feast_store import FeastStore
from ingest.errors import FeatureError
from tests.feature_repo.events import LOGS, MONDAY, WEEK, Event, interactions, known_at
from training.judging import parity_gap

TWO_CUSTOMERS: list[Event] = [("a", "x", 3, 0), ("a", "x", 20, 0), ("a", "y", 3, 0), ("b", "x", 9, 0)]


def new_store(folder: Path) -> FeastStore:
    store = FeastStore(folder)
    store.apply()
    return store


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> FeastStore:
    """A store that knows two customers since MONDAY, offline and online; for tests that only read."""
    store = new_store(tmp_path_factory.mktemp("known"))
    store.write_rows(interactions(TWO_CUSTOMERS), MONDAY)
    store.materialise(MONDAY)
    return store


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=LOGS)
def test_no_training_row_holds_what_was_not_available_at_its_moment(
    events: list[Event], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A correction that arrives later changes later rows only: the point-in-time join still gives what was known then."""
    log, store = interactions(events), new_store(tmp_path_factory.mktemp("store"))
    store.write_rows(known_at(log, MONDAY), MONDAY)
    users = sorted(set(log["user_id"].to_pylist()))
    before = store.historical("user_id", users, MONDAY)
    store.write_rows(known_at(log, MONDAY + 4 * WEEK), MONDAY + 4 * WEEK)
    feast_store._joined.clear()  # joined anew, not remembered
    pd.testing.assert_frame_equal(store.historical("user_id", users, MONDAY), before)


def test_rows_written_anew_are_joined_anew(tmp_path: Path) -> None:
    """Joined rows are remembered by the files that they came from: a file that changed is read again."""
    store = new_store(tmp_path)
    store.write_rows(interactions(TWO_CUSTOMERS), MONDAY)
    assert store.historical("user_id", ["a"], MONDAY)["user_purchases"].item() == 3
    store.write_rows(interactions(TWO_CUSTOMERS[1:]), MONDAY)
    assert store.historical("user_id", ["a"], MONDAY)["user_purchases"].item() == 2


def test_remembered_rows_are_those_that_a_join_gives(known: FeastStore) -> None:
    """Whoever asks first: some customers, all, in another order, or one whom nobody knows."""
    known.historical("user_id", ["a"], MONDAY)
    for users in (["b"], ["b", "a"], ["a", "stranger"], ["stranger"]):
        remembered = known.historical("user_id", users, MONDAY)
        feast_store._joined.clear()
        direct = known._join("user_id", users, MONDAY).reindex(users).reset_index()
        pd.testing.assert_frame_equal(remembered, direct, check_dtype=False)


def test_a_late_correction_shows_up_from_its_arrival_on(tmp_path: Path) -> None:
    """The literal case: a purchase of last week that becomes known a week late is absent this Monday and there the next."""
    log, store = interactions([*TWO_CUSTOMERS, ("b", "y", 2, 1)]), new_store(tmp_path)
    for monday in (MONDAY, MONDAY + WEEK):
        store.write_rows(known_at(log, monday), monday)
    seen = [store.historical("user_id", ["b"], monday)["user_purchases"].item() for monday in (MONDAY, MONDAY + WEEK)]
    assert seen == [1, 2]


def test_rows_of_the_future_are_not_joined(known: FeastStore) -> None:
    """Before its first row a customer has no features, though the store holds later ones."""
    assert known.historical("user_id", ["a"], MONDAY - WEEK).drop(columns="user_id").isna().all(axis=None)


def test_stale_rows_are_not_joined(known: FeastStore) -> None:
    """Rows older than the time to live are absent rather than silently old."""
    assert known.historical("user_id", ["a"], MONDAY + RECOMMENDER.ttl)["user_purchases"].item() == 3
    assert known.historical("user_id", ["a"], MONDAY + RECOMMENDER.ttl + WEEK)["user_purchases"].isna().item()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=LOGS)
def test_online_equals_offline(events: list[Event], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Training and serving see the same numbers to 1e-6, arrays included, for every customer."""
    log, store = interactions(events), new_store(tmp_path_factory.mktemp("store"))
    store.write_rows(known_at(log, MONDAY), MONDAY)
    store.materialise(MONDAY)
    assert parity_gap(store, sorted(set(log["user_id"].to_pylist())), MONDAY) <= 1e-6


def test_parity_sees_a_stale_online_store(tmp_path: Path) -> None:
    """The measure can fail: an online store that was not refreshed differs from what was trained on."""
    store = new_store(tmp_path)
    store.write_rows(interactions(TWO_CUSTOMERS), MONDAY)
    store.materialise(MONDAY)
    store.write_rows(interactions([*TWO_CUSTOMERS, ("a", "z", -1, 0)]), MONDAY + WEEK)
    assert parity_gap(store, ["a"], MONDAY + WEEK) > 1e-6


def test_the_online_store_never_goes_back(tmp_path: Path) -> None:
    """Rerunning an old week does not overwrite what a later week has materialised."""
    store = new_store(tmp_path)
    for monday in (MONDAY, MONDAY + WEEK):
        store.write_rows(interactions(TWO_CUSTOMERS), monday)
    assert store.materialise(MONDAY + WEEK)
    later = store.online("user_id", ["a"])
    assert not store.materialise(MONDAY)
    pd.testing.assert_frame_equal(store.online("user_id", ["a"]), later)


def test_an_unknown_customer_is_a_row_of_nulls(known: FeastStore) -> None:
    """Serving asks for anybody; who is not known has no values, and no error."""
    nobody = known.online("user_id", ["nobody"])
    assert nobody["user_id"].item() == "nobody"
    assert nobody.drop(columns="user_id").isna().all(axis=None)


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """Feature rows are a function of the events: a rebuilt week is equal to the bit."""
    log = interactions([("abc"[n % 3], "xyz"[n % 2], n * 0.7, 0) for n in range(60)])
    files = []
    for folder in ("one", "two"):
        new_store(tmp_path / folder).write_rows(log, MONDAY)
        files.append(sorted((tmp_path / folder / "rows").rglob("*.parquet")))
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_a_refused_change_of_definitions_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropping a feature that a live model reads is refused with the reason, and the registered definitions stand."""
    store = new_store(tmp_path)
    before = (tmp_path / "definitions.json").read_text()
    fewer = {view: dict(list(f.items())[1:]) for view, f in feast_store.schemas().items()}
    monkeypatch.setattr(feast_store, "schemas", lambda _: fewer)
    with pytest.raises(FeatureError, match="drop of user_features:user_orders_4w is refused: a live model reads"):
        store.apply(read_by_live_models={"user_orders_4w"})
    assert (tmp_path / "definitions.json").read_text() == before


def test_what_the_store_remembers_is_replaced_whole(tmp_path: Path) -> None:
    """Neither its definitions nor its marker is ever written in place, where a kill would leave half of it."""
    store = new_store(tmp_path)
    for monday in (MONDAY, MONDAY + WEEK):
        store.write_rows(interactions(TWO_CUSTOMERS), monday)
    store.materialise(MONDAY)
    for name in ("definitions", "materialised"):
        (tmp_path / f"old {name}").hardlink_to(tmp_path / f"{name}.json")
    store.apply()
    store.materialise(MONDAY + WEEK)
    for name in ("definitions", "materialised"):
        assert not (tmp_path / f"old {name}").samefile(tmp_path / f"{name}.json")


def test_history_comes_back_as_arrays(known: FeastStore) -> None:
    """A sequence feature keeps its order through Parquet, Feast and SQLite: most recent first."""
    offline, online = known.historical("user_id", ["a"], MONDAY), known.online("user_id", ["a"])
    assert list(offline["history_item_ids"].item()) == list(online["history_item_ids"].item()) == ["x", "y"]
    assert np.array_equal(offline["history_orders"].item(), [2, 1])


def test_a_row_says_since_when_it_was_available(known: FeastStore) -> None:
    """Serving can tell how old a customer's features are, and a customer without rows from one with old ones."""
    row, unknown = known.online_rows("user_id", ["a", "nobody"])
    assert row is not None
    assert (row.available_at, row.values["user_purchases"], unknown) == (MONDAY, 3, None)


def test_a_store_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    """It is told apart from a customer without features, because serving does different things about the two."""
    store = new_store(tmp_path)
    (tmp_path / "online.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(FeatureError, match="does not answer"):
        store.online_rows("user_id", ["a"])


@contextmanager
def hanging_redis(_: Path) -> Iterator[dict[str, str]]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield {"type": "redis", "connection_string": f"127.0.0.1:{silent.getsockname()[1]}"}


@contextmanager
def locked_sqlite(root: Path) -> Iterator[None]:
    with closing(sqlite3.connect(root / "online.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        yield None


@pytest.mark.parametrize("harm", [hanging_redis, locked_sqlite])
def test_no_read_waits_longer_than_the_patience(
    known: FeastStore, harm: Callable[[Path], AbstractContextManager[dict[str, str] | None]]
) -> None:
    """A store that hangs costs ten milliseconds, and is an error that says so."""
    with harm(known.root) as online:
        store = FeastStore(known.root, online, patience_s=0.01)
        for _ in range(3):
            began = time.perf_counter()
            with pytest.raises(FeatureError, match="The online store does not answer"):
                store.online_rows("user_id", ["a"])
            # The margin is for a busy machine and the first connection: without patience it would be five seconds and more.
            assert time.perf_counter() - began < 1
    if online is None:  # and it is well again when the lock is gone
        assert store.online_rows("user_id", ["a"]) != [None]


def test_a_row_that_cannot_be_parsed_costs_nobody_else_theirs(tmp_path: Path) -> None:
    """It counts as none, whether it is read alone or with others."""
    store = new_store(tmp_path)
    store.write_rows(interactions(TWO_CUSTOMERS), MONDAY)
    store.materialise(MONDAY)
    with closing(sqlite3.connect(tmp_path / "online.db")) as database, database:
        [(key,), *_] = database.execute(
            "SELECT DISTINCT entity_key FROM mlops_user_features WHERE hex(entity_key) LIKE '%61'"
        )
        database.execute("UPDATE mlops_user_features SET value = x'FFFF' WHERE entity_key = ?", [key])
    rows = store.online_rows("user_id", ["a", "b"])
    assert [row is None for row in rows] == [True, False]
    assert store.online_rows("user_id", ["a"]) == [None]


def test_the_moment_of_a_row_is_its_availability(known: FeastStore) -> None:
    """Every stored row is stamped with the Monday on which it could first be known."""
    for path in known.rows.rglob("*.parquet"):
        assert set(pd.read_parquet(path)["available_at"]) == {pd.Timestamp(datetime(2011, 1, 24))}
