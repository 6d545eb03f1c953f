"""The tables as a folder: one file each, Parquet or CSV, or a subfolder of such files; what is not there is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from feature_repo.card_features import FEATURES
from ingest.errors import SourceError
from monitoring.fraud.tables import COLUMNS, OPTIONAL, Tables

IDS = ("transaction_id", "customer_id", "terminal_id")


@dataclass(frozen=True)
class Read:
    """What a folder holds, what it does not, and what was odd about it."""

    tables: Tables
    missing: tuple[str, ...]
    remarks: tuple[str, ...]


def read_folder(folder: Path, since: date | None = None) -> Read:
    """Read the tables of a folder. Raises SourceError when transactions or scores are missing or cannot be read.

    Rows that cannot be used are counted in the remarks and left out; the rest is used. Of files that are named by a day, those
    before `since` are not looked at.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder. `mlops diagnose --help` says which tables a folder holds.")
    found = {name: _table(folder, name, since) for name in COLUMNS}
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
    for name in ("features_offline", "features_online"):
        if name in known and (lacking := [f for f in FEATURES if f not in _parts(known[name])[0].column_names]):
            if len(lacking) == len(FEATURES):
                raise SourceError(
                    f"{folder}/{name} has none of the features that are compared: {', '.join(FEATURES)}. Name its columns so, "
                    "or leave the table out."
                )
            remarks.append(f"{name} lacks {', '.join(lacking)}: nothing is known of these")
    numbered = _numbered(known, remarks)
    transactions = _without_repeats(numbered["transactions"], remarks)
    frames = {name: _frame(name, table, remarks) for name, table in numbered.items() if name != "transactions"}
    labels = frames.get("labels", pd.DataFrame({name: [] for name in COLUMNS["labels"]}))
    return Read(
        Tables(
            batches=_by_day(transactions, remarks),
            scores=_scores(frames["scores"], remarks),
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
    """Write tables as `read_folder` reads them; transactions in one file a day, as they were delivered.

    Raises SourceError for a folder that holds something: two drills in one are none.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SourceError(f"{folder} is not empty; name a folder that is, or does not exist yet.")
    (folder / "transactions").mkdir(parents=True, exist_ok=True)
    for day, batch in tables.batches.items():
        pq.write_table(batch, folder / "transactions" / f"{day}.parquet")
    for name in COLUMNS:
        table = getattr(tables, name, None) if name != "transactions" else None
        if table is not None:
            arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
            pq.write_table(arrow, folder / f"{name}.parquet")


def _table(folder: Path, name: str, since: date | None) -> pa.Table | list[pa.Table] | None:
    """A table, or for transactions the batches of a subfolder, whose types may differ."""
    files = sorted((folder / name).glob("*")) if (folder / name).is_dir() else []
    files = [path for path in files if since is None or not path.stem < str(since)] if _by_days(files) else files
    files += [path for path in (folder / f"{name}.parquet", folder / f"{name}.csv") if path.exists()]
    parts = [_file(path) for path in files if path.suffix in (".parquet", ".csv")]
    if not parts:
        return None
    return parts if name == "transactions" else _joined(folder / name, parts)


def _by_days(files: Iterable[Path]) -> bool:
    """Whether files are named by days, as 2025-03-01."""
    return all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", path.stem) for path in files)


def _file(path: Path) -> pa.Table:
    try:
        return pq.read_table(path) if path.suffix == ".parquet" else pa_csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}. Write it anew, or leave it out.") from error


def _joined(what: Path, parts: list[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise SourceError(
            f"The files of {what} do not fit together: {error}. Write their columns in one type."
        ) from error


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
        if all(_whole(part[column]) for part in parts):
            continue
        texts = pd.unique(
            pa.chunked_array([c.cast(pa.string()) for p in parts for c in p[column].chunks]).drop_null().to_pandas()
        )
        number = pd.Series(np.arange(len(texts)), index=texts)
        remarks.append(f"{column} is text; {len(texts)} ids were numbered")
        for name, table in numbered.items():
            done = [_renumber(part, column, number) if column in part.column_names else part for part in _parts(table)]
            numbered[name] = done if isinstance(table, list) else done[0]
    return numbered


def _parts(table: pa.Table | list[pa.Table]) -> list[pa.Table]:
    return table if isinstance(table, list) else [table]


def _whole(column: pa.ChunkedArray) -> bool:
    """Whether ids are whole numbers; where some are missing, pandas writes them as floats."""
    if pa.types.is_integer(column.type):
        return True
    return pa.types.is_floating(column.type) and bool(np.all(np.mod(column.drop_null().to_numpy(), 1) == 0))


def _renumber(part: pa.Table, column: str, number: pd.Series) -> pa.Table:
    numbers = pa.array(part[column].cast(pa.string()).to_pandas().map(number), pa.int64(), from_pandas=True)
    return part.set_column(part.schema.get_field_index(column), column, numbers)


def _without_repeats(parts: pa.Table | list[pa.Table], remarks: list[str]) -> list[pa.Table]:
    """The batches without transactions that came before under the same id, as a file that came twice, and without any id."""
    batches = _parts(parts)
    ids = np.concatenate([part["transaction_id"].to_numpy(zero_copy_only=False) for part in batches])
    named = ~pd.isna(ids)
    fresh = np.zeros(len(ids), bool)
    fresh[np.flatnonzero(named)[np.unique(ids[named].astype(np.int64), return_index=True)[1]]] = True
    if repeated := int((named & ~fresh).sum()):
        remarks.append(f"{repeated} transactions came again under the same id and were left out")
    if unnamed := int((~named).sum()):
        remarks.append(f"{unnamed} transactions have no id and were left out")
    ends = np.cumsum([len(part) for part in batches])
    kept = [part.filter(pa.array(fresh[end - len(part) : end])) for part, end in zip(batches, ends, strict=True)]
    return [part for part in kept if len(part)]


def _by_day(parts: Iterable[pa.Table], remarks: list[str]) -> dict[date, pa.Table]:
    """Batches by the day of their payments, in order of time."""
    batches: dict[date, list[pa.Table]] = {}
    lost = backwards = 0
    for part in parts:
        moments = _moments(part)
        lost += int(moments.isna().sum())
        backwards += int((moments.diff() < pd.Timedelta(0)).sum())
        days = moments.dt.normalize()
        for day in days.dropna().unique():
            rows = part.filter(pa.array((days == day).to_numpy()))
            batches.setdefault(pd.Timestamp(day).date(), []).append(rows)
    if lost:
        remarks.append(f"{lost} transactions have no readable timestamp and were left out")
    if backwards:
        remarks.append(f"the clock goes backwards {backwards} times within files; payments were put in order of time")
    if not batches:
        raise SourceError("No transaction has a readable timestamp: write it as 2025-03-01T12:30:00.")
    return {day: _in_order(_together(rows)) for day, rows in batches.items()}


def _moments(rows: pa.Table) -> pd.Series:
    """When each payment was made, in UTC; NaT for what cannot be read as a moment."""
    moments = rows["timestamp"].to_pandas()
    if pa.types.is_timestamp(rows["timestamp"].type) and rows["timestamp"].type.tz is None:
        return moments  # as it is: looking for texts to parse would take half of the time that reading takes
    return pd.to_datetime(moments, errors="coerce", utc=True).dt.tz_localize(None)


def _together(rows: list[pa.Table]) -> pa.Table:
    """A day's rows in one table; what came in several types becomes text, which is then found."""
    types: dict[str, set[pa.DataType]] = {}
    for part in rows:
        for field in part.schema:
            types.setdefault(field.name, set()).add(field.type)
    mixed = [name for name, found in types.items() if len({str(kind) for kind in found}) > 1]
    for name in mixed:
        rows = [
            part.set_column(part.schema.get_field_index(name), name, part[name].cast(pa.string()))
            if name in part.column_names and name != "timestamp"
            else part
            for part in rows
        ]
    return pa.concat_tables(rows, promote_options="permissive")


def _in_order(rows: pa.Table) -> pa.Table:
    """In order of time, whatever the clock of the file did."""
    moments = _moments(rows)
    if moments.is_monotonic_increasing and rows["timestamp"].type == pa.timestamp("us"):
        return rows
    ordered = rows.take(pa.array(np.argsort(moments.to_numpy(), kind="stable")))
    values = pa.array(np.sort(moments.to_numpy()).astype("datetime64[us]"))
    return ordered.set_column(ordered.schema.get_field_index("timestamp"), "timestamp", values)


def _frame(name: str, table: pa.Table | list[pa.Table], remarks: list[str]) -> pd.DataFrame:
    """A table as a frame, without the rows that cannot be used."""
    frame = pa.concat_tables(_parts(table), promote_options="permissive").to_pandas()
    usable = pd.Series(True, index=frame.index)
    for column in ("model_version", "replaces"):
        if column in frame:
            frame[column] = frame[column].map(_version, na_action="ignore")
    if "transaction_id" in frame:
        usable &= frame["transaction_id"].notna()
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
    kept = frame[usable].reset_index(drop=True)
    kinds = {"transaction_id": np.int64, "is_fraud": bool}
    return kept.astype({name: kind for name, kind in kinds.items() if name in kept})


def _version(name: object) -> str:
    """A version's name; a column of numbers with a gap holds floats."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


_TRUTH: Mapping[object, bool] = {
    True: True, False: False, "true": True, "false": False, "True": True, "False": False, "1": True, "0": False,
}  # fmt: skip


def _scores(frame: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    """Scores with what may be left out: a role, and what was done. Raises SourceError when none of them is live."""
    filled = frame.copy()
    for name, value in (("role", "live"), ("blocked", False), ("explored", False)):
        if name not in filled:
            filled[name] = value
    for name in ("blocked", "explored"):
        known = filled[name].map(_TRUTH)
        if (unclear := int(known.isna().sum())) and filled[name].notna().any():
            remarks.append(f"{unclear} rows of scores do not say whether they were {name}: taken as not")
        filled[name] = known.fillna(False).astype(bool)
    others = sorted(set(filled["role"].astype(str)) - {"live", "shadow"})
    if not len(filled):
        raise SourceError("No row of scores can be used: score is a number from 0 to 1 for a transaction_id.")
    if not (filled["role"] == "live").any():
        raise SourceError(
            f"No row of scores has the role live; there are {', '.join(others) or 'shadow'}. Roles: live, shadow."
        )
    if others:
        remarks.append(f"scores of the roles {', '.join(others)} were left out; the roles are live and shadow")
    return filled[filled["role"].isin(["live", "shadow"])].astype({"model_version": str})
