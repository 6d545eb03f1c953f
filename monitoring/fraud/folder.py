"""The tables as a folder: one file each, Parquet or CSV, or a subfolder of such files; what is not there is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ingest.errors import SourceError
from monitoring.fraud.tables import COLUMNS, OPTIONAL, Tables

IDS = ("transaction_id", "customer_id", "terminal_id")


@dataclass(frozen=True)
class Read:
    """What a folder holds, what it does not, and what was odd about it."""

    tables: Tables
    missing: tuple[str, ...]
    remarks: tuple[str, ...]


def read_folder(folder: Path) -> Read:
    """Read the tables of a folder. Raises SourceError when transactions or scores are missing or cannot be read.

    Rows that cannot be used are counted in the remarks and left out; the rest is used.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder. `mlops diagnose --help` says which tables a folder holds.")
    found = {name: _table(folder, name) for name in COLUMNS}
    missing = tuple(name for name in OPTIONAL if found[name] is None)
    for name in ("transactions", "scores"):
        if found[name] is None:
            raise SourceError(
                f"{folder} holds no {name}.parquet, {name}.csv or {name}/: without {name} nothing can be said. "
                f"Columns: {', '.join(COLUMNS[name])}."
            )
    remarks: list[str] = []
    known = {name: table for name, table in found.items() if table is not None}
    for name, table in known.items():
        _check_columns(folder, name, table)
    numbered = _numbered(known, remarks)
    transactions = _without_repeats(numbered["transactions"], remarks)
    frames = {name: _frame(name, table, remarks) for name, table in numbered.items() if name != "transactions"}
    labels = frames.get("labels", pd.DataFrame({name: [] for name in COLUMNS["labels"]}))
    return Read(
        Tables(
            batches=_by_day(transactions, remarks),
            scores=_scores(frames["scores"]),
            labels=labels.astype({"is_fraud": bool, "arrived_at": "datetime64[us]", "transaction_id": np.int64}),
            features_offline=numbered.get("features_offline"),
            features_online=numbered.get("features_online"),
            audits=frames.get("audits"),
            releases=frames.get("releases"),
            training_labels=frames.get("training_labels"),
            calendar=frames.get("calendar"),
        ),
        missing,
        tuple(remarks),
    )


def write_folder(tables: Tables, folder: Path) -> None:
    """Write tables as `read_folder` reads them; transactions in one file a day, as they were delivered."""
    (folder / "transactions").mkdir(parents=True, exist_ok=True)
    for day, batch in tables.batches.items():
        pq.write_table(batch, folder / "transactions" / f"{day}.parquet")
    for name in COLUMNS:
        table = getattr(tables, name, None) if name != "transactions" else None
        if table is not None:
            arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
            pq.write_table(arrow, folder / f"{name}.parquet")


def _table(folder: Path, name: str) -> pa.Table | list[pa.Table] | None:
    """A table, or for transactions the batches of a subfolder, whose types may differ."""
    files = sorted((folder / name).glob("*")) if (folder / name).is_dir() else []
    files += [path for path in (folder / f"{name}.parquet", folder / f"{name}.csv") if path.exists()]
    parts = [_file(path) for path in files if path.suffix in (".parquet", ".csv")]
    if not parts:
        return None
    return parts if name == "transactions" else pa.concat_tables(parts, promote_options="permissive")


def _file(path: Path) -> pa.Table:
    try:
        return pq.read_table(path) if path.suffix == ".parquet" else pa_csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}. Write it anew, or leave it out.") from error


def _check_columns(folder: Path, name: str, table: pa.Table | list[pa.Table]) -> None:
    """Transactions may lack columns, for that is a finding; every other table is of no use without its own."""
    needed = ("transaction_id", "timestamp") if name == "transactions" else COLUMNS[name]
    for part in table if isinstance(table, list) else [table]:
        lacking = [column for column in needed if column not in part.column_names]
        if lacking:
            raise SourceError(
                f"{folder}/{name} has no column {', '.join(lacking)}; it has {', '.join(part.column_names)}. "
                f"Columns of {name}: {', '.join(COLUMNS[name])}."
            )


def _numbered(
    tables: Mapping[str, pa.Table | list[pa.Table]], remarks: list[str]
) -> dict[str, pa.Table | list[pa.Table]]:
    """The same tables with numbers for ids that are texts, the same number for the same text everywhere."""
    numbered: dict[str, pa.Table | list[pa.Table]] = dict(tables)
    for column in IDS:
        parts = [part for table in tables.values() for part in _parts(table) if column in part.column_names]
        if all(pa.types.is_integer(part[column].type) for part in parts):
            continue
        texts = pd.unique(
            np.concatenate([part[column].cast(pa.string()).to_numpy(zero_copy_only=False) for part in parts])
        )
        number = pd.Series(np.arange(len(texts)), index=texts)
        remarks.append(f"{column} is text; {len(texts)} ids were numbered")
        for name, table in numbered.items():
            done = [_renumber(part, column, number) if column in part.column_names else part for part in _parts(table)]
            numbered[name] = done if isinstance(table, list) else done[0]
    return numbered


def _parts(table: pa.Table | list[pa.Table]) -> list[pa.Table]:
    return table if isinstance(table, list) else [table]


def _renumber(part: pa.Table, column: str, number: pd.Series) -> pa.Table:
    texts = part[column].cast(pa.string()).to_numpy(zero_copy_only=False)
    return part.set_column(
        part.schema.get_field_index(column), column, pa.array(number.reindex(texts).to_numpy(np.int64))
    )


def _without_repeats(parts: pa.Table | list[pa.Table], remarks: list[str]) -> list[pa.Table]:
    """The batches without transactions that were in an earlier one under the same id: a file that came twice."""
    seen: set[int] = set()
    kept = []
    repeated = 0
    for part in _parts(parts):
        ids = part["transaction_id"].to_numpy(zero_copy_only=False)
        first = np.zeros(len(ids), bool)
        first[np.unique(ids, return_index=True)[1]] = True
        fresh = first & ~np.isin(ids, np.fromiter(seen, np.int64, len(seen)))
        repeated += int((~fresh).sum())
        seen.update(ids[fresh].tolist())
        if fresh.any():
            kept.append(part.filter(pa.array(fresh)))
    if repeated:
        remarks.append(f"{repeated} transactions came again under the same id and were left out")
    return kept


def _by_day(parts: Iterable[pa.Table], remarks: list[str]) -> dict[date, pa.Table]:
    """Batches by the day of their payments, in order of time."""
    batches: dict[date, list[pa.Table]] = {}
    lost = 0
    for part in parts:
        moments = pd.to_datetime(part["timestamp"].to_pandas(), errors="coerce", utc=True).dt.tz_localize(None)
        lost += int(moments.isna().sum())
        days = moments.dt.normalize()
        for day in days.dropna().unique():
            rows = part.filter(pa.array((days == day).to_numpy()))
            batches.setdefault(pd.Timestamp(day).date(), []).append(rows)
    if lost:
        remarks.append(f"{lost} transactions have no readable timestamp and were left out")
    if not batches:
        raise SourceError("No transaction has a readable timestamp: write it as 2025-03-01T12:30:00.")
    return {day: _in_order(pa.concat_tables(rows, promote_options="permissive")) for day, rows in batches.items()}


def _in_order(rows: pa.Table) -> pa.Table:
    """In order of time, whatever the clock of the file did."""
    moments = pd.to_datetime(rows["timestamp"].to_pandas(), errors="coerce", utc=True).dt.tz_localize(None)
    ordered = rows.take(pa.array(np.argsort(moments.to_numpy(), kind="stable")))
    values = pa.array(np.sort(moments.to_numpy()).astype("datetime64[us]"))
    return ordered.set_column(ordered.schema.get_field_index("timestamp"), "timestamp", values)


def _frame(name: str, table: pa.Table | list[pa.Table], remarks: list[str]) -> pd.DataFrame:
    """A table as a frame, without the rows that cannot be used."""
    frame = pa.concat_tables(_parts(table), promote_options="permissive").to_pandas()
    usable = pd.Series(True, index=frame.index)
    for column in ("arrived_at", "released_at", "first_day", "last_day"):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column], errors="coerce", utc=True).dt.tz_localize(None)
            usable &= frame[column].notna()
    if "is_fraud" in frame:
        frame["is_fraud"] = frame["is_fraud"].map(_TRUTH)
        usable &= frame["is_fraud"].notna()
    if "score" in frame:
        frame["score"] = pd.to_numeric(frame["score"], errors="coerce")
        usable &= frame["score"].between(0, 1)
    if not usable.all():
        remarks.append(f"{int((~usable).sum())} rows of {name} cannot be read and were left out")
    return frame[usable].reset_index(drop=True)


_TRUTH: Mapping[object, bool] = {
    True: True, False: False, "true": True, "false": False, "True": True, "False": False, "1": True, "0": False,
}  # fmt: skip


def _scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores with what may be left out: a role, and what was done."""
    filled = frame.copy()
    for name, value in (("role", "live"), ("blocked", False), ("explored", False)):
        if name not in filled:
            filled[name] = value
    return filled.astype({"model_version": str, "blocked": bool, "explored": bool})
