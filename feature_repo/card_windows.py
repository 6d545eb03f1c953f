"""Compute the windows of customers and terminals with DuckDB, for one day's transactions at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import duckdb
import ibis
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.card_features import CUSTOMER_WINDOWS, TERMINAL_WINDOWS, customer_windows, terminal_windows
from ingest.card_world import TRANSACTIONS

Floats = NDArray[np.float64]

#: The transactions that windows are computed from: the feed's columns, the whole days between a payment's day and the one that
#: begins, and whether some label that had arrived by midnight called it fraud.
PAST = pa.schema([*TRANSACTIONS, ("age_days", pa.int64()), ("known_fraud", pa.bool_())])


def window_columns(past: pa.Table | None, columns: Mapping[str, NDArray]) -> dict[str, Floats]:
    """The windows of each transaction's customer and terminal, NaN for whom nothing is known."""
    found: dict[str, Floats] = {}
    if past is not None:
        _duckdb().register("past", past)
    for key, sql, names in _sql():
        wanted = np.asarray(columns[key], np.int64)
        rows = _duckdb().sql(sql).to_arrow_table() if past is not None else None
        keys = rows[key].to_numpy() if rows is not None else np.empty(0, np.int64)
        order = np.argsort(keys)
        at = np.minimum(np.searchsorted(keys, wanted, sorter=order), max(len(keys) - 1, 0))
        row = order[at] if len(keys) else at
        there = keys[row] == wanted if len(keys) else np.zeros(len(wanted), bool)
        for name in names:
            values = np.full(len(wanted), np.nan)
            if rows is not None and len(keys):
                values[there] = rows[name].to_numpy()[row[there]]
            found[name] = values
    return found


@cache
def _sql() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """What each window expression is in DuckDB's language: compiled once a process, for that takes a tenth of a second."""
    past = ibis.table(ibis.Schema.from_pyarrow(PAST), name="past")
    return tuple(
        (key, str(ibis.to_sql(expression(past), dialect="duckdb")), names)
        for key, expression, names in (
            ("customer_id", customer_windows, CUSTOMER_WINDOWS),
            ("terminal_id", terminal_windows, TERMINAL_WINDOWS),
        )
    )


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    return connection
