"""A delivery is accepted, loses single rows, or is condemned as a whole; each for a named reason."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from ingest.check import Inspection, content_hash, inspect
from ingest.contract import event_log_contract, read
from tests.ingest.example_deliveries import CONTRACT, WEEK_1, WEEK_2, NothingKnown, delivery_of, rows_of, with_cells

ARRIVED = datetime(2024, 1, 8)
ROWS = rows_of(WEEK_1, 100)


class Known(NothingKnown):
    """A lake that holds the given published rows."""

    def __init__(self, rows: pa.Table, week: date = WEEK_1) -> None:
        self.rows, self.week = rows, week

    def weeks_with(self, content: str) -> list[date]:
        return [self.week] if content == content_hash(self.rows) else []

    def rows_between(self, first: datetime, last: datetime) -> pd.DataFrame:
        frame = read(self.rows, CONTRACT).frame
        return frame[frame["event_time"].between(first, last)]

    def usual_prices(self) -> "pd.Series[float]":
        return read(self.rows, CONTRACT).frame.groupby("item_id")["price"].median()


def judged(rows: pa.Table, history: NothingKnown | None = None, week: date = WEEK_1) -> Inspection:
    return inspect(delivery_of(week, rows), CONTRACT, history or NothingKnown())


def scaled_prices(rows: pa.Table, factor: float, share: float = 1.0) -> pa.Table:
    prices = rows["price"].to_pylist()
    hit = int(len(prices) * share)
    return with_cells(rows, "price", {row: prices[row] * factor for row in range(hit)})


def test_sound_rows_are_all_accepted() -> None:
    """A delivery that keeps its contract loses nothing and is not remarked upon."""
    inspection = judged(ROWS)

    assert (len(inspection.accepted), inspection.faults, inspection.notes) == (100, (), ())


@pytest.mark.parametrize(
    ("column", "cell", "rule"),
    [
        ("user_id", None, "user_id missing"),
        ("user_id", "nan", "user_id missing"),
        ("item_id", "", "item_id missing"),
        ("event", None, "event missing"),
        ("quantity", 0, "quantity not positive"),
        ("quantity", -2, "quantity not positive"),
        ("quantity", "two", "quantity unreadable"),
        ("price", 0.0, "price not positive"),
        ("price", -1.0, "price not positive"),
        ("price", "£3", "price unreadable"),
        ("timestamp", None, "timestamp unreadable"),
        ("timestamp", "yesterday", "timestamp unreadable"),
        ("timestamp", "2024-01-08 00:00:00", "timestamp in the future"),
    ],
)
def test_a_bad_row_goes_alone(column: str, cell: object, rule: str) -> None:
    """One bad cell condemns its row under the rule's name, and no other row."""
    inspection = judged(with_cells(ROWS, column, {7: cell}))

    assert inspection.broken.dropna().to_dict() == {7: rule}
    assert (len(inspection.accepted), inspection.faults) == (99, ())


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (ROWS.drop_columns(["price"]), "missing column"),
        (ROWS.rename_columns({"user_id": "customer"}), "missing column"),
        (with_cells(ROWS, "price", dict.fromkeys(range(6), "£3")), "retyped column"),
        (with_cells(ROWS, "timestamp", dict.fromkeys(range(6), "soon")), "retyped column"),
        (with_cells(ROWS, "user_id", dict.fromkeys(range(11))), "ids missing"),
        (with_cells(ROWS, "item_id", dict.fromkeys(range(11))), "ids missing"),
        (with_cells(rows_of(WEEK_1, 200), "timestamp", dict.fromkeys(range(3), ARRIVED)), "timestamps in the future"),
    ],
)
def test_a_changed_source_condemns_the_batch(rows: pa.Table, rule: str) -> None:
    """Where the source itself has changed, even its readable rows are not trusted."""
    inspection = judged(rows)

    assert [fault.rule for fault in inspection.faults] == [rule]
    assert inspection.accepted.empty
    assert set(inspection.broken) == {rule}


@pytest.mark.parametrize(
    "rows",
    [
        with_cells(ROWS, "price", dict.fromkeys(range(5), "£3")),
        with_cells(ROWS, "user_id", dict.fromkeys(range(10))),
        with_cells(rows_of(WEEK_1, 300), "timestamp", dict.fromkeys(range(3), ARRIVED)),
        with_cells(rows_of(WEEK_1, 5), "user_id", {0: None}),
    ],
)
def test_up_to_the_limit_only_rows_are_condemned(rows: pa.Table) -> None:
    """The limits are 5 % unreadable, 10 % missing ids and 1 % in the future, and a handful of rows has no share."""
    inspection = judged(rows)

    assert inspection.faults == ()
    assert len(inspection.accepted) > 0


def test_how_many_ids_may_be_missing_is_the_sources_promise() -> None:
    """A till that serves strangers loses every fifth row, and the batch is still in order."""
    generous = event_log_contract("till", missing_ids_tolerated=0.5)
    rows = with_cells(ROWS, "user_id", dict.fromkeys(range(22)))

    inspection = inspect(delivery_of(WEEK_1, rows), generous, NothingKnown())

    assert (len(inspection.accepted), inspection.faults) == (78, ())


@pytest.mark.parametrize(
    ("factor", "share", "faults"),
    [
        (100, 1.0, ["unit of price changed"]),
        (0.01, 1.0, ["unit of price changed"]),
        (100, 0.1, ["unit of price changed"]),
        (100, 0.03, []),
        (10, 1.0, []),
        (0.1, 1.0, []),
    ],
)
def test_pounds_sent_as_pence_are_noticed_and_a_price_rise_is_not(
    factor: float, share: float, faults: list[str]
) -> None:
    """A factor of a hundred is a change of unit even for a tenth of the rows; a factor of ten is a market."""
    inspection = judged(scaled_prices(rows_of(WEEK_2, 100), factor, share), Known(ROWS), WEEK_2)

    assert [fault.rule for fault in inspection.faults] == faults


def test_prices_of_new_items_cannot_be_doubted() -> None:
    """Without a usual price to compare with there is no alarm: a first delivery is always a first."""
    assert judged(scaled_prices(ROWS, 100)).faults == ()


@pytest.mark.parametrize(
    "resent",
    [
        pytest.param(lambda rows: rows, id="the same file"),
        pytest.param(lambda rows: rows.append_column("note", pa.array(["again"] * 100)), id="with a column more"),
        pytest.param(lambda rows: rows.slice(0, 90), id="shortened"),
        pytest.param(lambda rows: with_cells(rows, "user_id", dict.fromkeys(range(10), "new")), id="a tenth changed"),
    ],
)
def test_a_batch_that_was_sent_before_is_condemned(resent: Callable[[pa.Table], pa.Table]) -> None:
    """Last week's file under this week's name is noticed, even with nine rows in ten only."""
    inspection = judged(resent(ROWS), Known(ROWS), WEEK_2)

    assert [fault.rule for fault in inspection.faults] == ["duplicated batch"]


def test_a_few_resent_rows_go_alone() -> None:
    """Rows that an earlier batch has brought are not counted twice; the rest of the batch is welcome."""
    rows = pa.concat_tables([ROWS.slice(0, 5), rows_of(WEEK_2, 95)])

    inspection = judged(rows, Known(ROWS), WEEK_2)

    assert inspection.broken.value_counts().to_dict() == {"already in the lake": 5}
    assert inspection.faults == ()


def test_equal_rows_within_a_batch_are_two_purchases() -> None:
    """A till may register the same line twice; only repetition across batches is an accident."""
    assert len(judged(pa.concat_tables([ROWS, ROWS])).accepted) == 200


def test_an_added_column_is_accepted_and_noted() -> None:
    """A source may tell more than it promised."""
    inspection = judged(ROWS.append_column("channel", pa.array(["web"] * 100)))

    assert (len(inspection.accepted), inspection.notes) == (100, ("added column: channel",))


def test_late_rows_are_accepted_and_counted() -> None:
    """What happened before the covered week is still true; it only became known later."""
    early = datetime(2023, 12, 31, 23, 59)

    inspection = judged(with_cells(ROWS, "timestamp", {0: early, 1: early - timedelta(days=30)}))

    assert (len(inspection.accepted), inspection.notes) == (100, ("late rows: 2 describe weeks before 2024-01-01",))


def test_mixed_id_types_are_normalised_and_noted() -> None:
    """Half of the ids as 7.0 and half as 7 are the same people, and somebody should know that it happened."""
    ids = pa.array([f"{row % 10}.0" if row % 2 else f"{row % 10}" for row in range(100)])

    inspection = judged(ROWS.set_column(0, "user_id", ids))

    assert inspection.accepted["user_id"].nunique() == 10
    assert inspection.notes == ("mixed ids: 50 of user_id were spelled like 13085.0 and are kept as 13085",)


def test_a_week_without_rows_is_in_order() -> None:
    """A closed shop sells nothing, and that is a fact rather than a fault."""
    inspection = judged(ROWS.slice(0, 0))

    assert (len(inspection.accepted), inspection.faults, inspection.notes) == (0, (), ("empty delivery",))


def test_the_content_hash_sees_cells_and_kinds_but_not_chunks() -> None:
    """Rows read in two pieces are the same rows; 1 and "1" are not."""
    pieces = pa.concat_tables([ROWS.slice(0, 40), ROWS.slice(40)])

    assert content_hash(pieces) == content_hash(ROWS)
    assert content_hash(with_cells(ROWS, "price", {3: 9.99})) != content_hash(ROWS)
    assert content_hash(pa.table({"a": [1]})) != content_hash(pa.table({"a": ["1"]}))
