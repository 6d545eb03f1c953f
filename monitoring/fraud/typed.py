"""Take a batch as it was delivered: what can be read is typed, what cannot is missing, and what was wrong is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ingest.card_world import TRANSACTIONS


class Typed(NamedTuple):
    """A batch in the columns and types of the contract, and what did not fit."""

    rows: pa.Table
    missing: tuple[str, ...]
    retyped: tuple[str, ...]
    unreadable: Mapping[str, int]
    """Values by column that are there and cannot be read as what they should be."""


def typed(delivered: pa.Table) -> Typed:
    """Bring a batch into the contract's types; never raises for what is in it."""
    if delivered.schema.equals(TRANSACTIONS):
        return Typed(_without_nan(delivered), (), (), {})
    columns, missing, retyped, unreadable = {}, [], [], {}
    for field in TRANSACTIONS:
        if field.name not in delivered.column_names:
            missing.append(field.name)
            columns[field.name] = pa.nulls(len(delivered), field.type)
            continue
        column = delivered[field.name]
        if column.type.equals(field.type):
            columns[field.name] = column
            continue
        if not _same_kind(column.type, field.type):
            retyped.append(field.name)
        columns[field.name] = _read(column, field.type)
        lost = int(columns[field.name].null_count - column.null_count)
        if lost:
            unreadable[field.name] = lost
    rows = _without_nan(pa.table(columns).cast(TRANSACTIONS))
    return Typed(rows, tuple(missing), tuple(retyped), unreadable)


def _without_nan(rows: pa.Table) -> pa.Table:
    """Numbers that are none, or infinite, are missing: engines differ in what they make of them."""
    for number, field in enumerate(rows.schema):
        if pa.types.is_floating(field.type):
            finite = pc.is_finite(rows[field.name])
            if not pc.all(finite, skip_nulls=True).as_py():
                rows = rows.set_column(number, field, pc.if_else(finite, rows[field.name], None))
    return rows


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether only the width differs: an int for a float, microseconds for nanoseconds, a dictionary for text."""
    numbers = [pa.types.is_integer(t) or pa.types.is_floating(t) for t in (found, wanted)]
    moments = [pa.types.is_timestamp(t) for t in (found, wanted)]
    texts = [pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_dictionary(t) for t in (found, wanted)]
    return all(numbers) or all(moments) or all(texts)


def _read(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    values = column.to_pandas()
    if pa.types.is_timestamp(wanted):
        moments = pd.to_datetime(values, errors="coerce", utc=True).dt.tz_localize(None)
        return pa.array(moments.astype("datetime64[us]"), wanted)
    if pa.types.is_string(wanted):
        return pa.array(values.where(values.notna()).map(str, na_action="ignore"), wanted)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    if pa.types.is_integer(wanted):
        numbers = np.where(np.mod(numbers, 1) == 0, numbers, np.nan)
        return pc.cast(pa.array(numbers, from_pandas=True), wanted)
    return pa.array(numbers, wanted, from_pandas=True)
