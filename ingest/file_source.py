"""Present published files as a source: a week's rows, whichever files they are in, land on the Monday after it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ingest.contract import Contract
from ingest.errors import SourceError
from ingest.published import PART, PLACE
from ingest.schema import WEEK, arrival_of, week_of
from ingest.source import Delivery
from ingest.staging import StagedFile
from ingest.timestamps import DateOrder

Merge = Callable[[list[pa.Table]], pa.Table]


@dataclass(frozen=True)
class FileSource:
    """A source whose weeks lie staged on the disk; `merge` makes one delivery of what several files hold of a week."""

    name: str
    contract: Contract
    files: tuple[StagedFile, ...]
    merge: Merge

    @property
    def version(self) -> str:
        """The staged folders' names, which are fingerprints of the files."""
        return " ".join(sorted(file.folder.name for file in self.files))

    def arrivals(self) -> list[datetime]:
        """List the Mondays after every week from the first to the last, quiet ones included."""
        weeks = [week for file in self.files for week in file.weeks]
        return [arrival_of(min(weeks) + n * WEEK) for n in range((max(weeks) - min(weeks)) // WEEK + 1)]

    def deliveries(self, arrived: datetime) -> list[Delivery]:
        """Hand over the week before; rows whose time nobody can read come along with the first, to be quarantined."""
        arrivals = self.arrivals()
        if arrived not in arrivals:
            return []
        week = week_of(arrived) - WEEK
        tables = [file.week(week) for file in self.files]
        if arrived == arrivals[0]:
            tables = [
                pa.concat_tables([rows, file.unreadable()]) for rows, file in zip(tables, self.files, strict=True)
            ]
        return [Delivery(self.name, week, arrived, self.merge(tables).drop_columns([PART, PLACE]))]


def stacked(tables: list[pa.Table]) -> pa.Table:
    """Put the rows of several files one after another; where they disagree on a column's type it becomes text."""
    filled = [table for table in tables if table.num_rows] or tables[:1]
    kinds: dict[str, set[pa.DataType]] = {}
    for field in (field for table in filled for field in table.schema):
        kinds.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, types in kinds.items() if len(types) > 1}
    return pa.concat_tables([_as_text(table, mixed) for table in filled], promote_options="default")


def overlaps_kept_once(tables: list[pa.Table]) -> pa.Table:
    """Put rows of several files or sheets together, leaving out those of a later one that an earlier one already holds.

    Equal rows within one sheet all stay: a till may well register the same line twice.
    """
    rows = stacked(tables)
    sheet = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables]) * 1_000 + rows[PART].to_numpy()
    if np.unique(sheet).size < 2:
        return rows
    cells = rows.drop_columns([PART, PLACE]).to_pandas().astype(str)
    first_seen = pd.Series(sheet).groupby(pd.util.hash_pandas_object(cells, index=False)).transform("min")
    return rows.filter(pa.array(first_seen.to_numpy() == sheet))


def common_date_order(files: tuple[StagedFile, ...], path: Path) -> DateOrder | None:
    """Find the one date order of all files; a source that changed its mind cannot be read under one contract."""
    orders = sorted({file.date_order for file in files if file.date_order is not None})
    if len(orders) > 1:
        raise SourceError(
            f"{path} holds files with day-first dates and files with month-first dates. Export them alike."
        )
    return orders[0] if orders else None


def _as_text(table: pa.Table, columns: set[str]) -> pa.Table:
    return table.cast(
        pa.schema([field.with_type(pa.string()) if field.name in columns else field for field in table.schema])
    )
