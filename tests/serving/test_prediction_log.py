"""The prediction log keeps every answer once, whatever happens to the worker, its disk or its clock."""

import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.prediction_log import PredictionLog, finish_part, to_batch
from tests.training.test_predictions import ONE_O_CLOCK, ids, prediction
from training.predictions import JOURNALS, PredictionTail, open_parts, read_predictions


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = ONE_O_CLOCK

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> PredictionLog:
    return PredictionLog(tmp_path / "predictions", clock=clock)


def append(log: PredictionLog, *numbers: int, at: datetime = ONE_O_CLOCK) -> None:
    for number in numbers:
        log.append(prediction(number, at))


def files(folder: Path) -> list[str]:
    """Their names, without what is different in each run."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(re.sub(r"\d+-\d{19}", "worker", name) for name in names)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let files grow to this size and no further: the kernel then writes what fits and refuses the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def die_after_flush(folder: Path, *numbers: int) -> None:
    """Another process logs these rows and is killed."""
    code = f"""
import os, signal
from pathlib import Path
from serving.prediction_log import PredictionLog
from tests.serving.test_prediction_log import append, Clock
log = PredictionLog(Path({str(folder)!r}), clock=Clock())
append(log, *{numbers!r})
log.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr


def test_a_flushed_row_can_be_read(log: PredictionLog) -> None:
    """What was flushed is there as it was appended, though the hour is not over."""
    append(log, 1, 2)
    assert (log.queued, log.written) == (2, 0)
    log.flush()
    assert (log.queued, log.written, log.write_failures) == (0, 2, 0)
    assert read_predictions(log.folder).to_pylist() == [prediction(1)._asdict(), prediction(2)._asdict()]
    assert files(log.folder) == [f"{JOURNALS}/2026-11-25T13.worker.arrows"]


def test_an_open_journal_is_an_arrow_stream(log: PredictionLog) -> None:
    """Anybody's Arrow reads a journal without this code."""
    append(log, 1, 2)
    log.flush()
    append(log, 3)
    log.flush()
    assert ids(pa.ipc.open_stream(open_parts(log.folder)[0].journal.read_bytes()).read_all()) == ["r1", "r2", "r3"]


def test_closing_writes_what_waits_and_leaves_parquet(log: PredictionLog) -> None:
    """An orderly end loses nothing, and the hour is a Parquet file of that hour's folder."""
    append(log, 1)
    log.flush()
    append(log, 2)
    log.close()
    assert files(log.folder) == ["hour=2026-11-25T13/worker.parquet"]
    assert ids(pq.read_table(log.folder).drop_columns(["hour"])) == ["r1", "r2"]


def test_after_closing_a_row_is_counted_as_dropped(log: PredictionLog) -> None:
    """Nobody would write it any more, so it does not count as queued."""
    log.close()
    append(log, 1)
    assert (log.queued, log.dropped) == (0, 1)


def test_a_started_log_writes_by_itself(log: PredictionLog) -> None:
    """Without any call but `append`, a row can be read within a second."""
    with log:
        append(log, 1)
        deadline = time.monotonic() + 1
        while not ids(read_predictions(log.folder)):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_hour_becomes_parquet_when_it_is_over(log: PredictionLog, clock: Clock) -> None:
    """Five seconds are left for rows that still wait; then the journal is finished and the next hour has its own."""
    append(log, 1)
    log.flush()
    clock.now = ONE_O_CLOCK + timedelta(hours=1, seconds=4.9)
    append(log, 2, at=clock.now)
    log.flush()
    log.finish()
    assert files(log.folder) == [f"{JOURNALS}/2026-11-25T13.worker.arrows", f"{JOURNALS}/2026-11-25T14.worker.arrows"]
    clock.now = ONE_O_CLOCK + timedelta(hours=1, seconds=5)
    log.flush()
    log.finish()
    assert files(log.folder) == [f"{JOURNALS}/2026-11-25T14.worker.arrows", "hour=2026-11-25T13/worker.parquet"]
    assert ids(read_predictions(log.folder)) == ["r1", "r2"]


def test_a_row_belongs_to_the_hour_of_its_moment(log: PredictionLog, clock: Clock) -> None:
    """Rows that are flushed together go to the hours in which they were answered, also one that is long over."""
    hour = timedelta(hours=1)
    clock.now = ONE_O_CLOCK + 3 * hour
    append(log, -1, 0, 3599, 3600)
    log.flush()
    log.close()
    assert files(log.folder) == [f"hour=2026-11-25T{hour}/worker.parquet" for hour in (12, 13, 14)]
    assert [ids(pq.read_table(path, partitioning=None)) for path in sorted(log.folder.rglob("*.parquet"))] == [
        ["r-1"],
        ["r0", "r3599"],
        ["r3600"],
    ]


@pytest.mark.parametrize("jump", [timedelta(hours=-5), timedelta(hours=5), timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_jumps_costs_no_row(log: PredictionLog, clock: Clock, jump: timedelta) -> None:
    """Rows before, during and after a jump, also one back again, are each there once."""
    tail, told = PredictionTail(log.folder), []
    for number, now in enumerate([ONE_O_CLOCK, ONE_O_CLOCK + jump, ONE_O_CLOCK, ONE_O_CLOCK + jump]):
        clock.now = now
        append(log, number, at=now)
        log.flush()
        log.finish()
        told += ids(tail.new_rows())
    log.close()
    assert told + ids(tail.new_rows()) == ["r0", "r1", "r2", "r3"]
    assert sorted(ids(read_predictions(log.folder))) == ["r0", "r1", "r2", "r3"]


def test_a_full_queue_drops_the_newest_row_and_counts_it(tmp_path: Path) -> None:
    """The rows that waited first are written; the counters account for every row."""
    log = PredictionLog(tmp_path, capacity=3)
    append(log, 1, 2, 3, 4, 5)
    assert (log.queued, log.dropped) == (3, 2)
    log.flush()
    append(log, 6)
    log.flush()
    assert (log.queued, log.dropped, log.written) == (0, 2, 4)
    assert ids(read_predictions(tmp_path)) == ["r1", "r2", "r3", "r6"]


def test_rows_that_the_disk_refuses_still_take_room_in_the_queue(tmp_path: Path) -> None:
    """A disk that stays full cannot make the queue grow beyond its bound."""
    log = PredictionLog(tmp_path, capacity=3)
    append(log, 1, 2)
    with room_for(0):
        log.flush()
        append(log, 3, 4)
        log.flush()
        assert (log.queued, log.dropped, log.write_failures, files(tmp_path)) == (3, 1, 2, [])
    log.flush()
    assert ids(read_predictions(tmp_path)) == ["r1", "r2", "r3"]


def test_appending_does_not_wait_for_the_disk(log: PredictionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a flush hangs in the disk, rows are queued as always."""
    reached, mended = threading.Event(), threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: (reached.set(), mended.wait(10)))
    append(log, 1)
    flushing = threading.Thread(target=log.flush)
    flushing.start()
    assert reached.wait(10)
    append(log, 2)
    assert (log.queued, flushing.is_alive()) == (2, True)
    mended.set()
    flushing.join()
    assert log.queued == 1


def test_a_full_disk_loses_and_doubles_nothing(log: PredictionLog) -> None:
    """Wherever the disk ends within a batch, the rows wait, the failure is counted, and with room again all is there once."""
    append(log, 1)
    log.flush()
    size = open_parts(log.folder)[0].journal.stat().st_size
    tail, told, expected = PredictionTail(log.folder), [], ["r1"]
    for number, room in enumerate(range(0, len(to_batch([prediction(1)]).serialize()), 50), start=2):
        append(log, number)
        with room_for(size + room):
            log.flush()
            log.flush()
            told += ids(tail.new_rows())
        assert (log.queued, log.write_failures, told) == (1, 2 * (number - 1), expected)
        assert "File too large" in log.failure
        log.flush()
        told += ids(tail.new_rows())
        expected.append(f"r{number}")
        assert (log.queued, told) == (0, expected)
        size = open_parts(log.folder)[0].journal.stat().st_size
    assert ids(read_predictions(log.folder)) == expected
    log.close()
    assert ids(read_predictions(log.folder)) == expected


def test_a_batch_whose_sync_failed_is_seen_once(log: PredictionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader may have seen a whole batch that the disk then refused; written again, it is not returned again."""
    append(log, 1)
    log.flush()
    tail = PredictionTail(log.folder)
    tail.new_rows()
    append(log, 2)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda _: os.read(-1, 1))
        log.flush()
        assert (log.queued, log.written, log.write_failures) == (1, 1, 1)
        assert ids(tail.new_rows()) == ["r2"]
    append(log, 3)
    log.flush()
    assert ids(tail.new_rows()) == ["r3"]
    assert ids(read_predictions(log.folder)) == ["r1", "r2", "r3"]


def test_a_folder_that_cannot_be_made_only_delays(log: PredictionLog) -> None:
    """The log starts, and answers are given, though there is no place for it yet."""
    log.folder.write_text("a file stands in the way")
    append(log, 1)
    log.flush()
    assert (log.queued, log.write_failures) == (1, 1)
    log.folder.unlink()
    log.flush()
    assert ids(read_predictions(log.folder)) == ["r1"]


def test_a_journal_that_somebody_deleted_is_begun_again(log: PredictionLog) -> None:
    """Later rows do not vanish into a file that no longer has a name."""
    append(log, 1)
    log.flush()
    open_parts(log.folder)[0].journal.unlink()
    append(log, 2)
    log.flush()
    assert ids(read_predictions(log.folder)) == ["r2"]


def test_a_disk_that_is_full_for_parquet_keeps_the_journal(log: PredictionLog) -> None:
    """Rows are in the journal until their Parquet file is whole, and nothing half is left beside it."""
    append(log, *range(10))
    log.flush()
    with room_for(1000):
        log.close()
    assert (log.write_failures, files(log.folder)) == (1, [f"{JOURNALS}/2026-11-25T13.worker.arrows"])
    log.finish()
    assert files(log.folder) == ["hour=2026-11-25T13/worker.parquet"]
    assert len(ids(read_predictions(log.folder))) == 10


@pytest.mark.parametrize(
    "wrong",
    [{"user_id": "half a surrogate pair: \ud800"}, {"item_ids": None}, {"latency_ms": "fast"}, {"worker": 2**40}],
)
def test_a_row_that_does_not_fit_costs_no_other(log: PredictionLog, wrong: dict[str, object]) -> None:
    """One bad row is refused and counted; the rows around it are written, and so are those that come later."""
    append(log, 1)
    log.append(prediction(2)._replace(**wrong))
    append(log, 3)
    log.flush()
    append(log, 4)
    log.close()
    assert (log.queued, log.refused, log.written) == (0, 1, 3)
    assert ids(read_predictions(log.folder)) == ["r1", "r3", "r4"]


def test_a_killed_workers_journal_is_finished_by_the_next(log: PredictionLog) -> None:
    """Whoever starts next turns what a dead worker left into Parquet, row for row."""
    die_after_flush(log.folder, 1, 2)
    assert files(log.folder) == [f"{JOURNALS}/2026-11-25T13.worker.arrows"]
    with log:
        deadline = time.monotonic() + 5
        while open_parts(log.folder):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert files(log.folder) == ["hour=2026-11-25T13/worker.parquet"]
    assert ids(read_predictions(log.folder)) == ["r1", "r2"]


def test_a_living_workers_journal_is_left_alone(log: PredictionLog) -> None:
    """Another worker does not finish what its owner still appends to."""
    append(log, 1)
    log.flush()
    other = PredictionLog(log.folder)
    other.close()
    append(log, 2)
    log.flush()
    assert files(log.folder) == [f"{JOURNALS}/2026-11-25T13.worker.arrows"]
    assert ids(read_predictions(log.folder)) == ["r1", "r2"]


def test_finishing_drops_a_torn_tail_and_nothing_else(log: PredictionLog) -> None:
    """Wherever a kill cut the last batch, the Parquet file holds the rows before it."""
    append(log, 1, 2)
    log.flush()
    before = open_parts(log.folder)[0].journal.stat().st_size
    append(log, 3)
    log.flush()
    content = open_parts(log.folder)[0].journal.read_bytes()
    log.close()
    for cut in (*range(before, len(content), 211), len(content)):
        for path in log.folder.rglob("*.parquet"):
            path.unlink()
        (log.folder / JOURNALS / f"2026-11-25T13.1-{cut}.arrows").write_bytes(content[:cut])
        log.finish()
        assert files(log.folder) == [f"hour=2026-11-25T13/1-{cut}.parquet"]
        assert ids(read_predictions(log.folder)) == ["r1", "r2"] + ["r3"] * (cut == len(content))


@pytest.mark.parametrize("content", [b"", b"\xff\xff"])
def test_a_journal_without_rows_is_finished_too(log: PredictionLog, content: bytes) -> None:
    """A worker that was killed before its first row leaves nothing that stays open for ever."""
    (log.folder / JOURNALS).mkdir(parents=True)
    (log.folder / JOURNALS / "2026-11-25T13.1-1.arrows").write_bytes(content)
    log.finish()
    assert files(log.folder) == ["hour=2026-11-25T13/1-1.parquet"]
    assert ids(read_predictions(log.folder)) == []


def test_finishing_that_was_killed_is_completed(log: PredictionLog) -> None:
    """A journal beside its whole Parquet file is deleted, a half Parquet file of a dead process too, and no row doubles."""
    append(log, 1)
    log.flush()
    part = open_parts(log.folder)[0]
    content = part.journal.read_bytes()
    log.close()
    part.journal.write_bytes(content)
    part.parquet.with_name(part.parquet.name + ".99.tmp").write_bytes(b"half")
    assert finish_part(part)
    assert files(log.folder) == ["hour=2026-11-25T13/worker.parquet"]
    assert ids(read_predictions(log.folder)) == ["r1"]


def before_the_lock(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something in the moment between the opening of a journal and its lock, once."""
    lock, acts = fcntl.flock, [act]

    def flock(file: int, how: int) -> None:
        if acts:
            acts.pop()()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_journal_that_is_finished_before_its_owner_locked_it_is_begun_again(
    log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker that finds the journal in its first moment takes it away, but no row with it."""
    before_the_lock(monkeypatch, PredictionLog(log.folder).finish)
    append(log, 1)
    log.flush()
    log.flush()
    assert (log.queued, log.write_failures) == (0, 1)
    assert ids(read_predictions(log.folder)) == ["r1"]


def test_two_workers_that_finish_the_same_journal_do_not_disturb_each_other(
    log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second sees, once it has the lock, that nothing is left to do."""
    die_after_flush(log.folder, 1)
    before_the_lock(monkeypatch, PredictionLog(log.folder).finish)
    log.finish()
    assert log.write_failures == 0
    assert ids(read_predictions(log.folder)) == ["r1"]


def test_a_small_batch_for_each_flush_becomes_one_row_group(log: PredictionLog) -> None:
    """An hour of half-second flushes is a Parquet file of few row groups."""
    for number in range(20):
        append(log, number)
        log.flush()
    log.close()
    assert pq.ParquetFile(next(log.folder.rglob("*.parquet"))).num_row_groups == 1


@pytest.mark.slow
def test_readers_see_every_row_once_while_hours_are_finished(log: PredictionLog, clock: Clock) -> None:
    """Whoever reads while journals become Parquet sees each row that was written before, and none twice."""
    done, written = threading.Event(), 0

    def work() -> None:
        nonlocal written
        for number in range(200):
            clock.now = ONE_O_CLOCK + timedelta(hours=number)
            append(log, number, at=clock.now - timedelta(seconds=number))
            log.flush()
            written = number + 1
            log.finish()
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    tail, told, wrong = PredictionTail(log.folder), [], []
    while not done.is_set():
        at_least = written
        read = ids(read_predictions(log.folder, ONE_O_CLOCK + timedelta(hours=max(0, at_least - 20))))
        told += ids(tail.new_rows())
        if len(read) != len(set(read)) or len(read) < min(at_least, 20) or len(told) < at_least:
            wrong.append((at_least, read, told))
    worker.join()
    assert wrong == []
    told += ids(tail.new_rows())
    assert sorted(told) == sorted(f"r{number}" for number in range(200))


_DOOMED = """
import os, sys, time
from pathlib import Path
from datetime import UTC, datetime
from serving.prediction_log import PredictionLog
from tests.training.test_predictions import prediction
with PredictionLog(Path(sys.argv[1])) as log:
    for number in range(10**9):
        log.append(prediction(0, datetime.now(UTC))._replace(request_id=str(number)))
        os.write(1, f"{number} {time.time()}\\n".encode())
        time.sleep(0.0005)
"""


@pytest.mark.slow
def test_a_kill_loses_at_most_a_second(tmp_path: Path) -> None:
    """Killed with -9 while it answers, a worker has lost no row older than a second."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", _DOOMED, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    threading.Timer(2.3, process.kill).start()
    lines += process.stdout.readlines()
    killed_at = float(lines[-1].split()[1])
    appended = {number: float(at) for number, at in (line.split() for line in lines)}
    kept = ids(read_predictions(tmp_path))
    assert process.wait() == -signal.SIGKILL
    assert len(kept) == len(set(kept))
    lost = appended.keys() - set(kept)
    assert max((killed_at - appended[number] for number in lost), default=0.0) < 1.0
    assert len(kept) > 100
