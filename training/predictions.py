"""Read what was answered: a prediction log's rows, from the hours that are finished and from those still being written.

A worker's rows of one hour are a *part*. While they come in, the part is a journal, `_journals/<hour>.<worker>.arrows`: an
Arrow IPC stream that one process appends to. Later it is `hour=<hour>/<worker>.parquet`, written whole. A journal is deleted
only after its Parquet file stands, and holds the same rows in the same order. So whoever looks for journals first and for
Parquet files second misses no part, and whoever then takes one file for each part reads no row twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.errors import ArtefactError

JOURNALS = "_journals"  # engines that read a folder of Parquet files skip names that begin with an underscore

SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("user_id", pa.string()),  # null: anonymous
        pa.field("slot", pa.string(), nullable=False),
        pa.field("slice", pa.string(), nullable=False),
        pa.field("model_version", pa.string()),  # null: no model answered
        pa.field("list", pa.string(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
        pa.field("rung", pa.string(), nullable=False),
        pa.field("known", pa.bool_(), nullable=False),
        pa.field("features_at", pa.timestamp("us", "UTC")),  # null: answered without features
        pa.field("index_as_of", pa.timestamp("us", "UTC")),
        pa.field("latency_ms", pa.float32(), nullable=False),
        pa.field("worker", pa.int32(), nullable=False),  # its process id
    ]
)


class Prediction(NamedTuple):
    """One answer, with the columns of SCHEMA; moments carry their time zone.

    A named tuple, because the hot path builds it several times as fast as a frozen dataclass of 15 fields.
    """

    request_id: str
    at: datetime
    user_id: str | None
    slot: Literal["champion", "challenger", "previous", "none"]
    slice: Literal["canary", "control", "rest", "shadow"]
    model_version: str | None
    list: Literal["all", "new"]
    item_ids: Sequence[str]
    scores: Sequence[float]
    rung: Literal["fresh", "stale_features", "no_features", "popular_items"]
    known: bool
    features_at: datetime | None
    index_as_of: datetime | None
    latency_ms: float
    worker: int


def log_of(home: Path) -> Path:
    """Where a workspace keeps what its service answered."""
    return home / "serving" / "predictions"


def read_predictions(
    folder: Path, since: datetime | None = None, *, until: datetime | None = None, schema: pa.Schema = SCHEMA
) -> pa.Table:
    """All rows with `at` from `since` on and before `until`, sorted by `at`; a folder that nobody wrote to holds none.

    `schema` is that of the log in the folder: the recommender's, or another model's.

    Raises ArtefactError when a file cannot be read or has other columns.
    """
    hours: dict[str, list[pa.Table]] = {}
    for part in parts(folder, since):
        if until is None or part.hour <= hour_of(until):
            hours.setdefault(part.hour, []).append(_read_part(part, schema))
    # A row lies in the hour of its `at`, so sorting hour by hour sorts everything, with one hour twice in memory.
    rows = pa.concat_tables([schema.empty_table(), *(_in_order(hours[hour], since) for hour in sorted(hours))])
    return rows if until is None else rows.filter(pc.field("at") < until)


@dataclass(slots=True)
class PredictionTail:
    """Follow the log from `since` on: each call returns what no call before has returned.

    A call costs what the new rows cost, plus a look at each hour since `since`; whoever follows for weeks starts a new tail
    now and then.
    """

    folder: Path
    since: datetime | None = None
    schema: pa.Schema = field(default=SCHEMA, kw_only=True)
    _seen: dict[Part, _Seen] = field(default_factory=dict, init=False, repr=False)
    _finished: set[Part] = field(default_factory=set, init=False, repr=False)

    def new_rows(self) -> pa.Table:
        """The rows that came in since the last call, sorted by `at`. Raises ArtefactError as `read_predictions` does.

        What was read before an error counts as not returned: the next call brings it.
        """
        seen, finished = dict(self._seen), set(self._finished)
        waiting = [part for part in parts(self.folder, self.since) if part not in finished]
        unseen = (_unseen(part, self.schema, seen, finished) for part in waiting)
        rows = _in_order([self.schema.empty_table(), *unseen], self.since)
        self._seen, self._finished = seen, finished
        return rows


@dataclass(frozen=True, slots=True)
class _Seen:
    end: int = 0  # bytes of the journal
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One worker's rows of one hour, wherever they are now."""

    folder: Path
    hour: str
    worker: str  # <process id>-<nanoseconds at its start>

    @property
    def journal(self) -> Path:
        """Where the rows are while they come in."""
        return self.folder / JOURNALS / f"{self.hour}.{self.worker}.arrows"

    @property
    def parquet(self) -> Path:
        """Where the rows are for good."""
        return self.folder / f"hour={self.hour}" / f"{self.worker}.parquet"


def parts(folder: Path, since: datetime | None = None) -> list[Part]:
    """Every part that may hold rows from `since` on, each once, whatever becomes a Parquet file meanwhile."""
    first = hour_of(since) if since else ""
    journals = open_parts(folder)  # before the Parquet files: see above
    hours = [path for path in folder.glob("hour=*") if path.name.removeprefix("hour=") >= first]
    finished = [
        Part(folder, hour.name.removeprefix("hour="), path.stem) for hour in hours for path in hour.glob("*.parquet")
    ]
    return sorted({*(part for part in journals if part.hour >= first), *finished}, key=lambda p: (p.hour, p.worker))


def open_parts(folder: Path) -> list[Part]:
    """The parts that have a journal."""
    names = (path.stem.split(".") for path in (folder / JOURNALS).glob("*.*.arrows"))
    return [Part(folder, hour, worker) for hour, worker in names]


def hour_of(at: datetime) -> str:
    """The name of the hour, in UTC, that a moment lies in."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H}"


def whole_batches(source: Any, schema: pa.Schema | None = None) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The batches of a journal, each with the offset where it ends, up to a torn tail or one that is still being written.

    `source` is an Arrow file; one that stands behind the schema needs to be told it. Raises OSError when the disk fails.
    """
    while (message := _next_message(source)) is not None:
        if message.type == "schema":
            schema = pa.ipc.read_schema(message)
        else:
            yield pa.ipc.read_record_batch(message, schema), source.tell()


def _next_message(source: Any) -> Any:
    try:
        return pa.ipc.read_message(source)
    except (EOFError, pa.ArrowInvalid):
        return None
    except OSError as error:
        if error.errno is not None:  # a message that ends too early is Arrow's own OSError, without a number
            raise
        return None


def _read_part(part: Part, schema: pa.Schema) -> pa.Table:
    if not part.parquet.exists():
        try:
            return _read_journal(part.journal, schema)[0]
        except FileNotFoundError:
            pass  # it has become a Parquet file this moment
    return _read_parquet(part.parquet, schema)


def _read_journal(path: Path, schema: pa.Schema, start: int = 0) -> tuple[pa.Table, int]:
    """The rows behind the offset `start`, and the offset where the last whole batch ends. Raises FileNotFoundError."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            found = list(whole_batches(pa.BufferReader(file.read()), schema if start else None))
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error
    for batch, _ in found:
        _require_schema(path, batch.schema, schema)
    return pa.Table.from_batches((batch for batch, _ in found), schema), start + (found[-1][1] if found else 0)


def _read_parquet(path: Path, schema: pa.Schema, skip: int = 0) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            _require_schema(path, file.schema_arrow, schema)
            if file.metadata.num_rows == skip:
                return schema.empty_table()
            return file.read().slice(skip)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


def _require_schema(path: Path, found: pa.Schema, wanted: pa.Schema) -> None:
    if not found.equals(wanted):
        raise ArtefactError(
            f"{path} has other columns than this version writes ({found.names}); read it with the version that wrote it, "
            "or move it out of the folder."
        )


def _unreadable(path: Path, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"The predictions in {path} cannot be read: {error}. Restore the file, or move it out of the folder."
    )


def _unseen(part: Part, schema: pa.Schema, seen: dict[Part, _Seen], finished: set[Part]) -> pa.Table:
    """The rows of a part after those that were seen; notes what is seen now."""
    before = seen.get(part, _Seen())
    if not part.parquet.exists():
        try:
            table, end = _read_journal(part.journal, schema, before.end)
        except FileNotFoundError:
            pass  # it has become a Parquet file this moment
        else:
            seen[part] = _Seen(end, before.rows + table.num_rows)
            return table
    table = _read_parquet(part.parquet, schema, skip=before.rows)
    finished.add(part)
    seen.pop(part, None)
    return table


def _in_order(tables: Sequence[pa.Table], since: datetime | None) -> pa.Table:
    rows = pa.concat_tables(tables)
    return (rows.filter(pc.field("at") >= since) if since else rows).sort_by("at")
