"""Read times as people publish them: typed, ISO text, epoch numbers, or one consistent day-first or month-first form.

Written as DuckDB expressions because the same reading must serve a file of many gigabytes (staging) and one batch
(contract); two implementations would disagree one day about a cell.
"""

from typing import Literal

import duckdb
import pyarrow as pa

DateOrder = Literal["day-first", "month-first"]

# Outside this range a time is a placeholder (1900-01-01, epoch 0, 9999-12-31) rather than an event of a shop's log;
# one such cell would otherwise stretch the calendar by thousands of empty weeks.
PLAUSIBLE = ("1990-01-01", "2100-01-01")

ACCEPTED_FORMS = (
    "ISO 8601 (2010-12-31 23:59), seconds or milliseconds since 1970, or 31/12/2010 23:59 in one date order"
)

_ISO = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}"
_EPOCH = r"^\d{9,19}(\.\d+)?$"
_TWO_LEADING = r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(\s|$)"
_DATE = {"day-first": "%d/%m/", "month-first": "%m/%d/"}
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


def read_timestamps(column: pa.ChunkedArray, date_order: DateOrder | None) -> pa.ChunkedArray:
    """Turn a published column into naive UTC microseconds; what cannot be read becomes null."""
    with connect() as connection:
        connection.register("published", pa.table({"moment": column}))
        kind = connection.sql("SELECT moment FROM published").types[0]
        moments = connection.sql(f"SELECT {timestamp_sql('moment', str(kind), date_order)} AS moment FROM published")
        return moments.to_arrow_table()["moment"]


def timestamp_sql(column: str, duckdb_type: str, date_order: DateOrder | None) -> str:
    """Write the expression that reads a column of this type as a naive UTC TIMESTAMP, null where it cannot."""
    moment = _moment_sql(quoted(column), duckdb_type, date_order)
    first, last = PLAUSIBLE
    return f"CASE WHEN {moment} >= TIMESTAMP '{first}' AND {moment} < TIMESTAMP '{last}' THEN {moment} END"


def date_order_sql(column: str) -> str:
    """Count the cells in 31/12/2010 form: all of them, those that must be day-first, those that must be month-first."""
    text = f"trim({quoted(column)})"
    first, second = (f"CAST(regexp_extract({text}, '{_TWO_LEADING}', {group}) AS INTEGER)" for group in (1, 2))
    shaped = f"regexp_matches({text}, '{_TWO_LEADING}')"
    return (
        f"count(*) FILTER (WHERE {shaped}), "
        f"count(*) FILTER (WHERE CASE WHEN {shaped} THEN {first} > 12 AND {second} <= 12 END), "
        f"count(*) FILTER (WHERE CASE WHEN {shaped} THEN {second} > 12 AND {first} <= 12 END)"
    )


def connect(memory_limit: str = "512MB") -> duckdb.DuckDBPyConnection:
    """Open a private in-memory DuckDB that reads text without an offset as UTC and never reaches for the network."""
    connection = duckdb.connect(
        config={"memory_limit": memory_limit, "TimeZone": "UTC", "autoinstall_known_extensions": "false"}
    )
    connection.execute("SET enable_progress_bar = false")  # it would write into a command's output
    return connection


def quoted(column: str) -> str:
    """Quote a column's name for SQL."""
    return '"' + column.replace('"', '""') + '"'


def _moment_sql(column: str, duckdb_type: str, date_order: DateOrder | None) -> str:
    if duckdb_type.startswith(("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")):
        return f"make_timestamp(epoch_us(CAST({column} AS TIMESTAMPTZ)))"
    if duckdb_type.startswith(("TIMESTAMP", "DATE")):
        return f"CAST({column} AS TIMESTAMP)"
    if duckdb_type == "VARCHAR":
        return _text_sql(f"trim({column})", date_order)
    return _epoch_sql(f"TRY_CAST({column} AS DOUBLE)")


def _text_sql(text: str, date_order: DateOrder | None) -> str:
    # Through TIMESTAMPTZ, because a plain TIMESTAMP cast drops the offset of 08:26+02:00 in silence.
    iso = (
        f"make_timestamp(epoch_us(TRY_CAST(CASE WHEN regexp_matches({text}, '{_ISO}') THEN {text} END AS TIMESTAMPTZ)))"
    )
    epoch = _epoch_sql(f"TRY_CAST(CASE WHEN regexp_matches({text}, '{_EPOCH}') THEN {text} END AS DOUBLE)")
    readings = [iso, epoch]
    if date_order is not None:
        slashed = rf"regexp_replace({text}, '{_TWO_LEADING}', '\1/\2/\3\4')"
        # Two-digit years first: %Y would read 10 as the year 10, whereas %y stumbles over 2010 and passes on.
        formats = ", ".join(f"'{_DATE[date_order]}{year}{time}'" for year in ("%y", "%Y") for time in _TIMES)
        readings.append(f"try_strptime({slashed}, [{formats}])")
    return f"coalesce({', '.join(readings)})"


def _epoch_sql(number: str) -> str:
    # The magnitude tells the unit: 1e11 is the year 5138 in seconds and 1973 in milliseconds.
    micros = (
        f"CASE WHEN {number} < 1e11 THEN 1e6 WHEN {number} < 1e14 THEN 1e3 WHEN {number} < 1e17 THEN 1 ELSE 1e-3 END"
    )
    return f"make_timestamp(TRY_CAST(CASE WHEN {number} BETWEEN 0 AND 4e18 THEN {number} * {micros} END AS BIGINT))"
