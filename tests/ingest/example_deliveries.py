"""Small deliveries of a plain event log, for tests of what happens to them."""

from datetime import date, datetime, timedelta

import pandas as pd
import pyarrow as pa

from ingest.contract import event_log_contract
from ingest.schema import WEEK, arrival_of
from ingest.source import Delivery

WEEK_1, WEEK_2, WEEK_3 = (date(2024, 1, 1) + n * WEEK for n in range(3))
CONTRACT = event_log_contract("log")


def rows_of(week: date, n: int = 60) -> pa.Table:
    """Publish n purchases of ten users and twenty items, an hour or so apart; every item has its own price."""
    monday = datetime(week.year, week.month, week.day)
    return pa.table(
        {
            "user_id": [f"u{row % 10}" for row in range(n)],
            "item_id": [f"i{row % 20}" for row in range(n)],
            "timestamp": pa.array([monday + timedelta(hours=row * 160 / n) for row in range(n)], pa.timestamp("us")),
            "event": ["purchase"] * n,
            "quantity": [1 + row % 3 for row in range(n)],
            "price": [2.5 + row % 20 for row in range(n)],
            "item_text": [f"thing {row % 20}" for row in range(n)],
            "country": ["France"] * n,
        }
    )


def delivery_of(week: date, rows: pa.Table | None = None, *, arrived: datetime | None = None) -> Delivery:
    """Deliver rows (by default `rows_of` the week) for a week, by default on the Monday after it."""
    return Delivery("log", week, arrived or arrival_of(week), rows_of(week) if rows is None else rows)


def with_cells(rows: pa.Table, column: str, cells: dict[int, object]) -> pa.Table:
    """Replace some cells of a column; text among numbers makes the column one of text, as it would in a CSV."""
    values = rows[column].to_pylist()
    for row, cell in cells.items():
        values[row] = cell
    mixed = any(isinstance(cell, str) for cell in values)
    texts = [None if cell is None else str(cell) for cell in values]
    array = pa.array(texts) if mixed else pa.array(values, rows[column].type)
    return rows.set_column(rows.column_names.index(column), column, array)


class NothingKnown:
    """The history of an empty lake."""

    def weeks_with(self, content: str) -> list[date]:
        return []

    def rows_between(self, first: datetime, last: datetime) -> pd.DataFrame:
        columns = ["user_id", "item_id", "event", "event_time", "quantity", "price"]
        kinds = ["object", "object", "object", "datetime64[us]", "float64", "float64"]
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in zip(columns, kinds, strict=True)})

    def usual_prices(self) -> "pd.Series[float]":
        return pd.Series(dtype="float64")
