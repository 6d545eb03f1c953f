"""Cut published files into weeks on disk, once, so that no file is ever loaded whole.

A staged file is a folder named after the file's fingerprint and the way it was read:

    <staging>/<key>/__week=2011-01-17/*.parquet   every published column, untouched, with its place in the file
    <staging>/<key>/__week=unreadable/*.parquet   rows whose time cannot be read; the first delivery takes them along
    <staging>/<key>/staged.json                   written last: a folder without it is built again
"""

import hashlib
import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.errors import SourceError
from ingest.published import PART, PLACE, literal, published_sql, require_columns
from ingest.timestamps import ACCEPTED_FORMS, DateOrder, connect, date_order_sql, quoted, timestamp_sql

# What one staging may hold in memory; DuckDB spills to the staging folder beyond it.
MEMORY_LIMIT = "512MB"
# Rows that a week's writer holds before it writes a row group. With a hundred weeks open at once DuckDB's default of
# 524,288 would hold the file in memory after all.
ROWS_HELD_PER_WEEK = 20_000
# Where most times cannot be read, it is not the rows that are wrong but our idea of the column.
UNREADABLE_TIMES_TOLERATED = 0.5

WEEK_OF_ROW = "__week"
_UNREADABLE = "unreadable"
_LAYOUT = "1"  # part of the key: raise it when staged folders change, so that old ones are built again
_PLAIN_TYPES = ("VARCHAR", "TIMESTAMP", "DATE", "DECIMAL", "DOUBLE", "FLOAT", "BOOLEAN")
_WHOLE_TYPES = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT")


@dataclass(frozen=True)
class Reading:
    """How to read a published file, as far as the file cannot say it itself."""

    encoding: str = "utf-8"
    date_order: DateOrder | None = None  # None: as the column's own cells show


PLAIN = Reading()


@dataclass(frozen=True)
class StagedFile:
    """A published file, cut into weeks."""

    folder: Path
    columns: tuple[str, ...]
    weeks: tuple[date, ...]  # those that hold at least one row
    rows: int
    unreadable_times: int
    date_order: DateOrder | None

    def week(self, week: date) -> pa.Table:
        """Read the rows of a week in the order of the file, with PART (sheet) and PLACE (row) beside them."""
        return self._partition(week.isoformat())

    def unreadable(self) -> pa.Table:
        """Read the rows whose time could not be read."""
        return self._partition(_UNREADABLE)

    def distinct(self, column: str) -> set[str]:
        """List the different values of a column, as text; for columns that have few."""
        with connect(MEMORY_LIMIT) as connection:
            files = f"read_parquet({literal(self.folder / '*' / '*.parquet')}, hive_partitioning = false)"
            values = connection.sql(f"SELECT DISTINCT trim(CAST({quoted(column)} AS VARCHAR)) FROM {files}")
            return {value for (value,) in values.fetchall() if value}

    def _partition(self, name: str) -> pa.Table:
        files = sorted((self.folder / f"{WEEK_OF_ROW}={name}").glob("*.parquet"))
        if not files:
            return pq.read_schema(next(self.folder.glob("*/*.parquet"))).remove_metadata().empty_table()
        rows = pa.concat_tables([pq.ParquetFile(file).read() for file in files])
        return rows.replace_schema_metadata().sort_by([(PART, "ascending"), (PLACE, "ascending")])


def stage(
    path: Path, staging: Path, *, required: Collection[Sequence[str]], time_column: str, reading: Reading
) -> StagedFile:
    """Cut a file into weeks, or find that this was done before.

    `required` lists the columns that must be there, each with the names it may have. Raises SourceError when the file
    cannot be read as it is, saying what to change.
    """
    folder = staging / _key(path, time_column, reading)
    if not (folder / "staged.json").exists():
        _build(path, folder, required=required, time_column=time_column, reading=reading)
    return _staged(folder)


def _build(
    path: Path, folder: Path, *, required: Collection[Sequence[str]], time_column: str, reading: Reading
) -> None:
    partial = folder.with_name(folder.name + ".partial")
    scratch = partial / "scratch"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        with connect(MEMORY_LIMIT) as connection:
            # One thread reads a file in its own order, which makes PLACE the row's true place.
            connection.execute(f"SET threads = 1; SET temp_directory = {literal(scratch)}")
            connection.execute(f"SET partitioned_write_flush_threshold = {ROWS_HELD_PER_WEEK}")
            connection.execute(f"CREATE VIEW published AS {published_sql(path, scratch, reading.encoding)}")
            columns = require_columns(connection, path, required)
            date_order = _date_order(connection, path, time_column, columns[time_column], reading)
            _cut(connection, partial, columns, time_column, date_order)
        shutil.rmtree(scratch)
        staged = _described(partial, tuple(columns), date_order)
        _require_readable_times(path, staged, time_column)
        (partial / "staged.json").write_text(_json(staged))
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except (OSError, duckdb.IOException) as error:
        what = str(error).splitlines()[0]
        raise SourceError(
            f"{path} cannot be staged in {folder.parent}: {what}. Free some space, or choose another folder."
        ) from error
    except duckdb.Error as error:
        what = " ".join(str(error).splitlines()[:3])
        raise SourceError(f"{path} cannot be read: {what}. Mend that part of the file, or leave it out.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _date_order(
    connection: duckdb.DuckDBPyConnection, path: Path, column: str, kind: str, reading: Reading
) -> DateOrder | None:
    """Find out whether 05/06/2011 is in May or June from the cells that allow one reading only."""
    if kind != "VARCHAR" or reading.date_order is not None:
        return reading.date_order
    shaped, day_first, month_first = connection.sql(f"SELECT {date_order_sql(column)} FROM published").fetchall()[0]
    if day_first and month_first:
        raise SourceError(
            f"{path} mixes two orders in {column}: {day_first:,} dates must be day-first, {month_first:,} month-first, "
            "so 05/06/2011 has no sure meaning. Export ISO dates, or say --date-order to keep only those of one order."
        )
    if shaped and not day_first and not month_first:
        raise SourceError(
            f"{path} has dates in {column} such as 05/06/2011, and none shows whether day or month comes first. "
            "Say --date-order day-first or --date-order month-first."
        )
    return "day-first" if day_first else "month-first" if month_first else None


# --- cutting it into weeks --------------------------------------------------------------------------------------------


def _cut(
    connection: duckdb.DuckDBPyConnection,
    partial: Path,
    columns: dict[str, str],
    time_column: str,
    date_order: DateOrder | None,
) -> None:
    monday = f"date_trunc('week', {timestamp_sql(time_column, columns[time_column], date_order)})"
    kept = ", ".join(_as_staged(name, kind) for name, kind in columns.items())
    connection.execute(
        f"COPY (SELECT {kept}, {PART}, {PLACE}, "
        f"coalesce(strftime({monday}, '%Y-%m-%d'), '{_UNREADABLE}') AS {WEEK_OF_ROW} FROM published) "
        f"TO {literal(partial)} (FORMAT parquet, PARTITION_BY ({WEEK_OF_ROW}), OVERWRITE_OR_IGNORE)"
    )


def _as_staged(name: str, kind: str) -> str:
    """Keep plain cells as they are; lists, structures and the like become text, for a contract has no kind for them."""
    is_plain = kind.startswith(_PLAIN_TYPES + _WHOLE_TYPES) and not kind.endswith("]")
    return quoted(name) if is_plain else f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}"


def _described(folder: Path, columns: tuple[str, ...], date_order: DateOrder | None) -> StagedFile:
    rows = {
        part.name.removeprefix(f"{WEEK_OF_ROW}="): sum(
            pq.read_metadata(file).num_rows for file in part.glob("*.parquet")
        )
        for part in sorted(folder.glob(f"{WEEK_OF_ROW}=*"))
    }
    unreadable = rows.pop(_UNREADABLE, 0)
    weeks = tuple(date.fromisoformat(name) for name in rows)
    return StagedFile(folder, columns, weeks, sum(rows.values()) + unreadable, unreadable, date_order)


def _require_readable_times(path: Path, staged: StagedFile, time_column: str) -> None:
    if staged.rows == 0:
        raise SourceError(
            f"{path} holds column names but no rows. Export it again, or wait until there is something in it."
        )
    if staged.unreadable_times > UNREADABLE_TIMES_TOLERATED * staged.rows:
        cells = staged.unreadable()[time_column].drop_null().slice(0, 1).to_pylist()
        example = f"such as {str(cells[0])!r}" if cells else "all of them empty"
        raise SourceError(
            f"{path}: {staged.unreadable_times:,} of {staged.rows:,} cells of {time_column} cannot be read as a time, "
            f"{example}. Understood are {ACCEPTED_FORMS}."
        )


# --- staged folders ---------------------------------------------------------------------------------------------------


def _key(path: Path, time_column: str, reading: Reading) -> str:
    """Tell files apart by size, time of change and both ends: hashing a large file costs as much as reading it."""
    status = path.stat()
    with path.open("rb") as file:
        head = file.read(1 << 20)
        file.seek(max(0, status.st_size - (1 << 20)))
        tail = file.read()
    how = f"{_LAYOUT} {path.name} {status.st_size} {status.st_mtime_ns} {time_column} {reading}"
    return hashlib.sha256(how.encode() + head + tail).hexdigest()[:16]


def _json(staged: StagedFile) -> str:
    return json.dumps(
        {**asdict(staged), "folder": None, "weeks": [week.isoformat() for week in staged.weeks]}, indent=1
    )


def _staged(folder: Path) -> StagedFile:
    fields = json.loads((folder / "staged.json").read_text())
    weeks = tuple(date.fromisoformat(week) for week in fields["weeks"])
    return StagedFile(**{**fields, "folder": folder, "columns": tuple(fields["columns"]), "weeks": weeks})
