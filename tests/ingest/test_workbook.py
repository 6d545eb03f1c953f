"""A workbook is streamed into Parquet as text, and refused when its sheets are not one table."""

from datetime import datetime
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from ingest.errors import SourceError
from ingest.workbook import workbook_to_parquet


def write(path: Path, *sheets: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_all_sheets_are_read_as_text_with_their_number(tmp_path: Path) -> None:
    """Cells keep what they say, dates become ISO, blank rows and blank sheets are skipped, short rows are filled."""
    book = write(
        tmp_path / "b.xlsx",
        [["id", "when"], [7, datetime(2024, 1, 2, 3, 4)], [None, None], ["8x"]],
        [],
        [["id", "when"], [9.5, None]],
    )

    workbook_to_parquet(book, tmp_path / "b.parquet")

    assert pq.read_table(tmp_path / "b.parquet").to_pylist() == [
        {"id": "7", "when": "2024-01-02 03:04:00", "__sheet": 0},
        {"id": "8x", "when": None, "__sheet": 0},
        {"id": "9.5", "when": None, "__sheet": 2},
    ]


@pytest.mark.parametrize(
    ("sheets", "message"),
    [
        ([[["id"], [1]], [["name"], [2]]], "sheets with different columns: id and name"),
        ([[]], "no sheet with a header"),
    ],
)
def test_sheets_that_are_no_table_are_refused(tmp_path: Path, sheets: list[list[list[object]]], message: str) -> None:
    """Sheets of different shape cannot be one log."""
    with pytest.raises(SourceError, match=message):
        workbook_to_parquet(write(tmp_path / "b.xlsx", *sheets), tmp_path / "b.parquet")
