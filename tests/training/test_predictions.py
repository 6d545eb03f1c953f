"""What was answered can be read at any moment: whole, in order, and no row twice."""

import errno
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import ArtefactError
from training.predictions import SCHEMA, Part, Prediction, PredictionTail, read_predictions, whole_batches

ONE_O_CLOCK = datetime(2026, 11, 25, 13, tzinfo=UTC)


def prediction(number: int, at: datetime = ONE_O_CLOCK) -> Prediction:
    return Prediction(
        request_id=f"r{number}",
        at=at + timedelta(seconds=number),
        user_id=None if number % 2 else f"u{number}",
        slot="champion",
        slice="rest",
        model_version="17",
        list="all",
        item_ids=["a", "b"],
        scores=[0.5, 0.25],
        rung="fresh",
        known=True,
        features_at=at - timedelta(days=2),
        index_as_of=at - timedelta(days=3),
        latency_ms=3.5,
        worker=4711,
    )


def batch_of(*numbers: int, at: datetime = ONE_O_CLOCK) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([prediction(number, at)._asdict() for number in numbers], SCHEMA)


def part_of(folder: Path, hour: str = "2026-11-25T13", worker: str = "4711-1") -> Part:
    part = Part(folder, hour, worker)
    part.journal.parent.mkdir(parents=True, exist_ok=True)
    part.parquet.parent.mkdir(parents=True, exist_ok=True)
    return part


def write_journal(part: Part, *batches: pa.RecordBatch) -> None:
    part.journal.write_bytes(b"".join(thing.serialize().to_pybytes() for thing in (SCHEMA, *batches)))


def append(part: Part, content: bytes) -> None:
    with part.journal.open("ab") as file:
        file.write(content)


def finish(part: Part, *batches: pa.RecordBatch) -> None:
    pq.write_table(pa.Table.from_batches(batches), part.parquet)
    part.journal.unlink(missing_ok=True)


def ids(table: pa.Table) -> list[str]:
    assert table.schema == SCHEMA
    return table["request_id"].to_pylist()


def test_rows_come_back_as_they_were_appended(tmp_path: Path) -> None:
    """A journal and a Parquet file give back every column of every row."""
    write_journal(part_of(tmp_path, worker="4711-1"), batch_of(1))
    finish(part_of(tmp_path, worker="4712-1"), batch_of(2))
    assert read_predictions(tmp_path).to_pylist() == [prediction(1)._asdict(), prediction(2)._asdict()]


def test_rows_of_all_workers_and_hours_are_in_order(tmp_path: Path) -> None:
    """Rows are sorted by when they were answered, whichever worker wrote them and into which file."""
    later = ONE_O_CLOCK + timedelta(hours=1)
    write_journal(part_of(tmp_path, "2026-11-25T14"), batch_of(9, 7, at=later))
    write_journal(part_of(tmp_path, worker="4711-1"), batch_of(4), batch_of(1))
    finish(part_of(tmp_path, worker="4712-1"), batch_of(3, 2))
    assert ids(read_predictions(tmp_path)) == ["r1", "r2", "r3", "r4", "r7", "r9"]


def test_rows_before_the_moment_asked_for_are_left_out(tmp_path: Path) -> None:
    """`since` is the first moment that counts, to the microsecond, and hours before it are not even opened."""
    finish(part_of(tmp_path), batch_of(1, 2, 3))
    part_of(tmp_path, "2026-11-25T12", "1-1").parquet.write_bytes(b"never opened")
    write_journal(part_of(tmp_path, "2026-11-25T12", "2-1"), batch_of(4))  # a row that lies in the wrong hour
    assert ids(read_predictions(tmp_path, ONE_O_CLOCK + timedelta(seconds=2))) == ["r2", "r3"]
    assert ids(read_predictions(tmp_path, ONE_O_CLOCK + timedelta(seconds=2, microseconds=1))) == ["r3"]


def test_a_folder_that_nobody_wrote_to_holds_no_rows(tmp_path: Path) -> None:
    """Before the first answer there is nothing to read, and reading creates nothing."""
    assert ids(read_predictions(tmp_path / "none")) == []
    assert ids(PredictionTail(tmp_path / "none").new_rows()) == []
    assert not (tmp_path / "none").exists()


def test_a_torn_tail_costs_no_row_before_it(tmp_path: Path) -> None:
    """Wherever a kill cuts the last batch, all rows before it are read, and its own only when it is whole."""
    part, last = part_of(tmp_path), batch_of(3).serialize().to_pybytes()
    write_journal(part, batch_of(1), batch_of(2))
    before = part.journal.read_bytes()
    for cut in range(len(last) + 1):
        part.journal.write_bytes(before + last[:cut])
        assert ids(read_predictions(tmp_path)) == ["r1", "r2"] + ["r3"] * (cut == len(last)), cut


def test_a_journal_without_its_first_bytes_yet_holds_no_rows(tmp_path: Path) -> None:
    """A worker that is killed while it writes the schema has logged nothing, and hinders no reader."""
    part, schema = part_of(tmp_path), SCHEMA.serialize().to_pybytes()
    for cut in range(len(schema) + 1):
        part.journal.write_bytes(schema[:cut])
        assert ids(read_predictions(tmp_path)) == []


def test_a_part_that_stands_twice_counts_once(tmp_path: Path) -> None:
    """A kill between writing the Parquet file and deleting its journal doubles no row."""
    part = part_of(tmp_path)
    finish(part, batch_of(1, 2))
    write_journal(part, batch_of(1, 2))
    assert ids(read_predictions(tmp_path)) == ["r1", "r2"]
    assert ids(PredictionTail(tmp_path).new_rows()) == ["r1", "r2"]


def test_the_tail_returns_each_row_once(tmp_path: Path) -> None:
    """New rows of every worker come with the next call and never again."""
    tail, one, other = PredictionTail(tmp_path), part_of(tmp_path, worker="1-1"), part_of(tmp_path, worker="2-1")
    write_journal(one, batch_of(1, 2))
    assert ids(tail.new_rows()) == ["r1", "r2"]
    assert ids(tail.new_rows()) == []
    append(one, batch_of(4).serialize().to_pybytes())
    write_journal(other, batch_of(3))
    assert ids(tail.new_rows()) == ["r3", "r4"]
    assert ids(tail.new_rows()) == []


def test_the_tail_waits_for_a_batch_to_be_whole(tmp_path: Path) -> None:
    """A batch that is still being written is returned when its last byte is there, wherever the tail met its middle."""
    part, last = part_of(tmp_path), batch_of(2).serialize().to_pybytes()
    tail = PredictionTail(tmp_path)
    write_journal(part, batch_of(1))
    assert ids(tail.new_rows()) == ["r1"]
    for byte in last[:-1]:
        append(part, bytes([byte]))
        assert ids(tail.new_rows()) == []
    append(part, last[-1:])
    assert ids(tail.new_rows()) == ["r2"]


def test_the_tail_goes_on_where_it_was_when_a_journal_becomes_parquet(tmp_path: Path) -> None:
    """Of a finished hour the tail returns what it had not seen in the journal, be that everything, a part or nothing."""
    seen, half_seen, unseen = (part_of(tmp_path, worker=f"{number}-1") for number in range(3))
    write_journal(seen, batch_of(1))
    write_journal(half_seen, batch_of(2))
    tail = PredictionTail(tmp_path)
    assert ids(tail.new_rows()) == ["r1", "r2"]
    finish(seen, batch_of(1))
    finish(half_seen, batch_of(2), batch_of(3))
    finish(unseen, batch_of(4))
    assert ids(tail.new_rows()) == ["r3", "r4"]
    assert ids(tail.new_rows()) == []


def test_the_tail_reads_no_byte_again(tmp_path: Path) -> None:
    """What was returned could be anything by now: in a journal the tail looks only behind it, in a Parquet file not at all."""
    part, tail = part_of(tmp_path), PredictionTail(tmp_path)
    write_journal(part, batch_of(1))
    tail.new_rows()
    part.journal.write_bytes(b"\xff" * part.journal.stat().st_size)
    append(part, batch_of(2).serialize().to_pybytes())
    assert ids(tail.new_rows()) == ["r2"]
    finish(part, batch_of(1), batch_of(2))
    with part.parquet.open("r+b") as file:
        file.write(b"\xff" * 500)
    assert ids(tail.new_rows()) == []


def test_the_tail_begins_where_it_is_told(tmp_path: Path) -> None:
    """A release asks for rows since its start only, also within the hour."""
    write_journal(part_of(tmp_path), batch_of(1, 2, 3))
    finish(part_of(tmp_path, "2026-11-25T12"), batch_of(1, at=ONE_O_CLOCK - timedelta(hours=1)))
    assert ids(PredictionTail(tmp_path, ONE_O_CLOCK + timedelta(seconds=2)).new_rows()) == ["r2", "r3"]


def test_a_file_of_other_columns_is_named(tmp_path: Path) -> None:
    """Rows of another schema are not passed on as if they were understood."""
    part = part_of(tmp_path)
    finish(part, batch_of(1).drop_columns(["slot"]))
    with pytest.raises(ArtefactError, match=r"4711-1\.parquet has other columns"):
        read_predictions(tmp_path)
    with pytest.raises(ArtefactError, match=r"4711-1\.parquet has other columns"):
        PredictionTail(tmp_path).new_rows()


def test_a_journal_of_other_columns_is_named(tmp_path: Path) -> None:
    """A worker of another version, still running, is not misread either."""
    old = batch_of(1).drop_columns(["slot"])
    part_of(tmp_path).journal.write_bytes(old.schema.serialize().to_pybytes() + old.serialize().to_pybytes())
    with pytest.raises(ArtefactError, match=r"4711-1\.arrows has other columns"):
        read_predictions(tmp_path)


def test_a_disk_that_fails_is_no_torn_tail(tmp_path: Path) -> None:
    """Rows that cannot be read just now are not taken for rows that were never written whole."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        list(whole_batches(pa.PythonFile(Failing(), mode="r")))


@pytest.mark.parametrize("read", [read_predictions, lambda folder: PredictionTail(folder).new_rows()])
def test_a_journal_that_becomes_parquet_under_the_readers_hands_is_read_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], pa.Table]
) -> None:
    """Finished in the moment between looking and opening, a part is neither missed nor an error."""
    part, exists = part_of(tmp_path), Path.exists
    write_journal(part, batch_of(1))

    def exists_a_moment_ago(path: Path) -> bool:
        answer = exists(path)
        finish(part, batch_of(1))
        return answer

    monkeypatch.setattr(Path, "exists", exists_a_moment_ago)
    assert ids(read(tmp_path)) == ["r1"]
    assert not part.journal.is_file()


def test_a_journal_that_becomes_parquet_between_two_looks_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished while the folders are listed, a part is seen in the one or in the other."""
    part, glob = part_of(tmp_path), Path.glob
    write_journal(part, batch_of(1))

    def glob_a_moment_ago(path: Path, pattern: str) -> list[Path]:
        answer = list(glob(path, pattern))
        if not pattern.startswith("hour="):
            finish(part, batch_of(1))
        return answer

    monkeypatch.setattr(Path, "glob", glob_a_moment_ago)
    assert ids(read_predictions(tmp_path)) == ["r1"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A finished file that is no longer whole is an error that says which, not a shorter history."""
    part = part_of(tmp_path)
    finish(part, batch_of(1))
    part.parquet.write_bytes(part.parquet.read_bytes()[:-9])
    with pytest.raises(ArtefactError, match=r"4711-1\.parquet cannot be read"):
        read_predictions(tmp_path)


def test_a_look_that_fails_loses_no_row(tmp_path: Path) -> None:
    """What was read before the damaged file comes again with the next look, once the file is mended."""
    first, second = part_of(tmp_path, worker="1-1"), part_of(tmp_path, worker="2-2")
    write_journal(first, batch_of(1))
    second.parquet.write_bytes(b"no Parquet at all")
    tail = PredictionTail(tmp_path)
    with pytest.raises(ArtefactError):
        tail.new_rows()
    finish(second, batch_of(2))
    assert ids(tail.new_rows()) == ["r1", "r2"]
    assert ids(tail.new_rows()) == []
