"""Turn an Excel workbook into Parquet, sheet after sheet, never holding more than a chunk of rows."""

import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl.utils.exceptions import InvalidFileException

from ingest.errors import SourceError

SHEET = "__sheet"
CHUNK_ROWS = 50_000

Row = tuple[object, ...]


def workbook_to_parquet(workbook: Path, destination: Path, progress: Callable[[int], object] = int) -> None:
    """Write the rows of all sheets as text, each with the number of its sheet; sheets must share their columns.

    A column without a name is called after its place, as in CSV: unnamed_0. `progress` is told the rows done so far.
    Raises SourceError when the workbook cannot be read as one table.
    """
    try:
        book = openpyxl.load_workbook(workbook, read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as error:
        raise SourceError(
            f"{workbook} is not a readable Excel workbook ({error}). Save it as .xlsx or .csv again."
        ) from error
    sheets = [
        (number, rows)
        for number, sheet in enumerate(book.worksheets)
        if (rows := _Rows(sheet.iter_rows(values_only=True))).header
    ]
    if not sheets:
        raise SourceError(f"{workbook} has no sheet with a header row. Put the column names into the first row.")
    header = sheets[0][1].header
    for _, rows in sheets:
        if rows.header != header:
            raise SourceError(
                f"{workbook} has sheets with different columns: {', '.join(header)} and {', '.join(rows.header)}. "
                "Give them the same columns, or save them as separate files."
            )
    schema = pa.schema([(name, pa.string()) for name in header] + [(SHEET, pa.int32())])
    done = 0
    with pq.ParquetWriter(destination, schema) as writer:
        for number, rows in sheets:
            while chunk := list(islice(rows, CHUNK_ROWS)):
                cells = [[_text(row[n]) if n < len(row) else None for row in chunk] for n in range(len(header))]
                writer.write_table(
                    pa.table([*map(_strings, cells), pa.array([number] * len(chunk), pa.int32())], schema=schema)
                )
                done += len(chunk)
                progress(done)
    book.close()


class _Rows:
    """The rows of a sheet below its header; blank ones, which Excel keeps after deletions, are skipped."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.header = _header(next(rows, ()))
        self._rows = (row for row in rows if any(cell is not None for cell in row))

    def __iter__(self) -> Iterator[Row]:
        return self._rows


def _header(cells: Row) -> list[str]:
    """The name of every column in its place; pandas writes its index under a blank cell."""
    names = ["" if cell is None else str(cell).strip() for cell in cells]
    while names and not names[-1]:  # sheets remember how far to the right something once stood
        names.pop()
    return [name or f"unnamed_{n}" for n, name in enumerate(names)]


def _strings(cells: list[str | None]) -> pa.Array:
    return pa.array(cells, pa.string())


def _text(cell: object) -> str | None:
    if cell is None:
        return None
    return cell.isoformat(sep=" ") if isinstance(cell, datetime) else str(cell)
