"""Published rows become canonical interactions, and nothing is dropped or guessed on the way."""

import pyarrow as pa
import pytest

from ingest.contract import event_log_contract, read
from tests.ingest.example_deliveries import CONTRACT, WEEK_1, rows_of, with_cells

BARE = event_log_contract("bare", carried=())


def bare(**columns: pa.Array) -> pa.Table:
    length = max((len(column) for column in columns.values()), default=1)
    others = {"user_id": ["u"] * length, "item_id": ["i"] * length, "timestamp": ["2024-01-01"] * length}
    return pa.table({**others, **columns})


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([13085, 14]),
        pa.array([13085.0, 14.0]),
        pa.array(["13085", "14"]),
        pa.array(["13085.0", " 14 "]),
        pa.array(["13085", "14.00"]),
    ],
)
def test_an_id_is_the_same_in_every_spelling(ids: pa.Array) -> None:
    """13085, 13085.0 and "13085" are one customer, whatever type a week's file happens to have."""
    assert list(read(bare(user_id=ids), BARE).frame["user_id"]) == ["13085", "14"]


def test_a_long_id_with_nulls_beside_it_keeps_its_digits() -> None:
    """A null turns whole numbers into floats; 12345678901.0 is still not 1.23e+10."""
    ids = read(bare(user_id=pa.array([12345678901.0, None])), BARE).frame["user_id"]

    assert list(ids) == ["12345678901", None]


@pytest.mark.parametrize("nothing", [None, "", "  ", "NaN", "null", "None", "<NA>"])
def test_every_way_to_write_nothing_is_nothing(nothing: str | None) -> None:
    """Exporters write an empty cell in many ways, and none of them is a customer's id."""
    typed = read(bare(user_id=pa.array([nothing], pa.string())), BARE)

    assert typed.frame["user_id"].isna().all()
    assert typed.missing["user_id"].all()


def test_a_bare_log_is_a_log_of_single_purchases_at_unknown_prices() -> None:
    """Without event, quantity and price a row means: this user took one of this item."""
    frame = read(bare(), BARE).frame

    assert frame[["event", "quantity"]].to_dict("records") == [{"event": "purchase", "quantity": 1.0}]
    assert frame[["price", "item_text", "country"]].isna().all(axis=None)


def test_named_events_become_purchases() -> None:
    """A log may call a purchase by its own name; other events keep theirs."""
    contract = event_log_contract("shop", carried=("event",), purchase_events=("order", "reorder"))
    events = pa.array(["order", "reorder", "view"])

    assert list(read(bare(event=events), contract).frame["event"]) == ["purchase", "purchase", "view"]


def test_a_cell_of_another_kind_is_told_from_an_empty_one() -> None:
    """A price of "n/a" is unreadable, a price that is not there is missing."""
    rows = with_cells(rows_of(WEEK_1, 3), "price", {0: "n/a", 1: None})

    typed = read(rows, CONTRACT)

    assert list(typed.unreadable["price"]) == [True, False, False]
    assert list(typed.missing["price"]) == [False, True, False]


def test_infinity_is_not_a_price() -> None:
    """A division by zero upstream must not become a feature."""
    typed = read(with_cells(rows_of(WEEK_1, 3), "price", {0: "inf"}), CONTRACT)

    assert list(typed.unreadable["price"]) == [True, False, False]
