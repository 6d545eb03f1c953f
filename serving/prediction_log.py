"""Log every answer off the hot path: append to a bounded queue, flush it twice a second, keep each hour as Parquet.

What is promised, and by what:

- Answering never waits for a disk. `append` adds a row to a list; when `capacity` rows wait, the newest is dropped and
  counted, because the rows that wait were answered first and an answer must not be slower for its log.
- `kill -9` loses at most a second: a thread writes and syncs what waits every half second. Only a disk that takes more than
  a second for one `fsync` makes it more, by as much as it takes; a journal outlives a power cut up to its last `fsync`.
- A full or broken disk loses nothing that has room in the queue, and nothing is written twice: a batch that could not be
  written is tried again with the same bytes at the same place, so that a reader who has seen part of it, or all of it,
  sees no change. Writing again is also what a failed `fsync` asks for: after one, the kernel takes the pages for written.
- A journal is locked for as long as its writer holds it. One that nobody holds, be its hour over or its process killed, is
  turned into Parquet by whoever finds it first.

How the files lie and how they are read is told in `training.predictions`.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.whole_files import replace_whole, sync
from training.predictions import SCHEMA, Part, hour_of, open_parts, whole_batches

FLUSH_EVERY_S = 0.5  # half of the second that a kill may cost
FINISH_EVERY_S = 60.0  # nobody waits for it: journals are read as well as Parquet files
BATCH_ROWS = 1_000  # about half a megabyte
ROW_GROUP_ROWS = 50_000
LATE_ROWS = timedelta(seconds=5)  # how long after its end an hour's journal stays open for rows that still wait

Row = tuple[Any, ...]


class PredictionLog:
    """One worker's log in `folder`. Build it in the worker: a forked child would share its locks but not its threads.

    A row is a tuple with the columns of `schema`, among them `at`, the moment by which rows are dealt to hours.

    Its counters are for metrics. `written` rows are on the disk. `dropped` ones found the queue full or the log closed,
    `refused` ones do not fit the schema; both are lost. `write_failures` counts what the disk refused, flushes and Parquet
    files alike, and `failure` says what it said last.
    """

    def __init__(
        self,
        folder: Path,
        *,
        schema: pa.Schema = SCHEMA,
        capacity: int = 20_000,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder, self.schema = folder, schema
        self.written = self.dropped = self.refused = self.write_failures = 0
        self.failure = ""
        self._capacity = capacity
        self._clock = clock
        self._queue: list[Row] = []
        self._taken: list[_Batch] = []  # from the queue, and not on the disk yet
        self._taken_rows = 0
        self._journals: dict[str, _Journal] = {}
        self._counting = threading.Lock()  # never held while a disk is waited for
        self._flushing = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def append(self, row: Row) -> None:
        """Queue a row, or count it as dropped; any thread may call this, and none waits for the disk."""
        with self._counting:
            if len(self._queue) + self._taken_rows < self._capacity:
                self._queue.append(row)
            else:
                self.dropped += 1

    @property
    def queued(self) -> int:
        """How many rows wait to be written."""
        with self._counting:
            return len(self._queue) + self._taken_rows

    def __enter__(self) -> Self:
        """Begin to write what is appended, and to turn journals that nobody holds into Parquet."""
        # Arrow imports pandas with its first array: on a busy machine a second that a kill would otherwise cost later.
        to_batch([], self.schema)
        for work, every_s in (
            (self.flush, FLUSH_EVERY_S),
            # A thread of its own: an hour of a busy worker takes longer than the second that a kill may cost.
            (self.finish, FINISH_EVERY_S),
        ):
            thread = threading.Thread(target=self._repeat, args=(work, every_s), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits and turn this worker's journals into Parquet; what the disk refuses even now stays `queued`."""
        with self._counting:
            self._capacity = 0
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self.flush()
        while self._journals:
            self._journals.popitem()[1].release()
        self.finish()

    def flush(self) -> None:
        """Write and sync what waits; what the disk refuses waits on."""
        with self._flushing:
            try:
                self._write_taken()
                for _ in range(0, len(self._queue), BATCH_ROWS):  # what comes in meanwhile is for the next flush
                    self._take()
                    self._write_taken()
                self._release_past_hours()
            except OSError as error:
                self._count_failure(error)

    def finish(self) -> None:
        """Turn every journal that nobody holds into Parquet; one that the disk refuses stays for the next time."""
        for part in open_parts(self.folder):
            try:
                finish_part(part, self.schema)
            except (OSError, pa.ArrowInvalid) as error:
                self._count_failure(error)

    def _repeat(self, work: Callable[[], None], every_s: float) -> None:
        pause_s = 0.0
        while not self._closing.wait(pause_s):
            began = time.monotonic()
            work()
            pause_s = max(0.0, began + every_s - time.monotonic())

    def _take(self) -> None:
        with self._counting:
            rows = self._queue[:BATCH_ROWS]
            del self._queue[:BATCH_ROWS]
            self._taken_rows += len(rows)
        batch = to_batch(rows, self.schema)
        self._taken = [_Batch(hour, part.serialize(), part.num_rows) for hour, part in split_by_hour(batch)]
        with self._counting:
            self._taken_rows = batch.num_rows
            self.refused += len(rows) - batch.num_rows

    def _write_taken(self) -> None:
        while self._taken:
            batch = self._taken[0]
            self._journal(batch.hour).append(batch.content)
            self._taken.pop(0)
            with self._counting:
                self._taken_rows -= batch.rows
                self.written += batch.rows

    def _journal(self, hour: str) -> _Journal:
        if hour in self._journals and self._journals[hour].is_deleted():
            self._journals.pop(hour).release()
        if hour not in self._journals:
            self._journals[hour] = open_journal(self.folder, hour, self.schema)
        return self._journals[hour]

    def _release_past_hours(self) -> None:
        # Also right when the clock jumps: a row of an hour that was released opens another journal for it.
        current = hour_of(self._clock() - LATE_ROWS)
        for hour in [hour for hour in self._journals if hour < current]:
            self._journals.pop(hour).release()

    def _count_failure(self, error: Exception) -> None:
        with self._counting:
            self.write_failures += 1
            self.failure = str(error)


@dataclass(frozen=True, slots=True)
class _Batch:
    hour: str
    content: Any  # a pyarrow.Buffer with the batch as a message of the stream
    rows: int


@dataclass(slots=True)
class _Journal:
    """An open journal, locked by this process."""

    descriptor: int
    end: int = 0  # of what is known to be on the disk

    def append(self, content: Any) -> None:
        """Add bytes and wait until they are on the disk. Raises OSError; the same bytes must then be tried again."""
        view = memoryview(content)
        done = 0
        while done < len(view):
            done += os.pwrite(self.descriptor, view[done:], self.end + done)
        os.fsync(self.descriptor)
        self.end += len(view)

    def is_deleted(self) -> bool:
        """Whether somebody took the file away, and whatever is written goes nowhere."""
        return os.fstat(self.descriptor).st_nlink == 0

    def release(self) -> None:
        """Leave the journal to whoever finishes it."""
        os.close(self.descriptor)  # with it goes the lock


def open_journal(folder: Path, hour: str, schema: pa.Schema) -> _Journal:
    """Begin a journal with the schema in it. Raises OSError when the disk refuses."""
    part = Part(folder, hour, f"{os.getpid()}-{time.time_ns()}")
    part.journal.parent.mkdir(parents=True, exist_ok=True)
    journal = _Journal(os.open(part.journal, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644))
    try:
        fcntl.flock(journal.descriptor, fcntl.LOCK_EX)
        journal.append(schema.serialize())
        sync(part.journal.parent)
        part.journal.stat()  # it is gone if somebody finished it in the moment before the lock
    except OSError:
        part.journal.unlink(missing_ok=True)
        journal.release()
        raise
    return journal


def finish_part(part: Part, schema: pa.Schema = SCHEMA) -> bool:
    """Turn a journal into Parquet, unless a writer holds it; says whether it did.

    Raises OSError when the disk refuses and pyarrow.ArrowInvalid when the journal is damaged; it then stays as it is.
    """
    try:
        file = part.journal.open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if os.fstat(file.fileno()).st_nlink == 0:
            return False
        # A process that was killed while it did this left a half under another name, or the whole file, which is replaced.
        for half in part.parquet.parent.glob(f"{part.parquet.name}.*.tmp"):
            half.unlink()
        replace_whole(part.parquet, lambda temporary: _write_parquet(part.journal, temporary, schema))
        part.journal.unlink()
    return True


def _write_parquet(journal: Path, path: Path, schema: pa.Schema) -> None:
    with pa.OSFile(str(journal)) as source:
        batches = (batch for batch, _ in whole_batches(source))
        first = next(batches, to_batch([], schema))  # without rows it becomes a file too: a journal always leaves one
        with pq.ParquetWriter(path, first.schema) as writer:
            for group in _row_groups(chain([first], batches)):
                writer.write_table(pa.Table.from_batches(group))


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Gather small batches: a row group for each flush would make the file large and slow to read."""
    group: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        group.append(batch)
        rows += batch.num_rows
        if rows >= ROW_GROUP_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def to_batch(rows: Sequence[Row], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    """The rows as a batch with the columns of the schema, without those that do not fit it.

    A single customer's id can be at fault, such as one with half a surrogate pair; it must not cost the rows around it.
    """
    try:
        return _all_to_batch(rows, schema)
    except (ValueError, TypeError, OverflowError):
        fitting = (_all_to_batch([row], schema) for row in rows if _fits(row, schema))
        return pa.concat_batches([_all_to_batch([], schema), *fitting])


def _fits(row: Row, schema: pa.Schema) -> bool:
    try:
        _all_to_batch([row], schema)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _all_to_batch(rows: Sequence[Row], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    batch = pa.RecordBatch.from_arrays(
        [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)], schema=schema
    )
    for kind in schema:
        if not kind.nullable and batch[kind.name].null_count:
            raise ValueError(f"{kind.name} must not be null.")  # Arrow checks that in Parquet files only
    return batch


def split_by_hour(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of each hour that occurs, under the hour's name."""
    hours = pc.floor_temporal(batch["at"], unit="hour")
    for hour in hours.unique().to_pylist():
        yield hour_of(hour), batch.filter(pc.equal(hours, hour))
