"""A workbook is streamed into Parquet as text, and refused when its sheets are not one table."""

from datetime import datetime
from pathlib import Path

import openpyxl
import pandas as pd
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


def test_values_stay_under_their_names(tmp_path: Path) -> None:
    """A column without a name, such as the index that pandas writes, is named by its place and moves no other."""
    book = tmp_path / "b.xlsx"
    pd.DataFrame({"user_id": ["ann"], "item_id": ["tea"]}, index=[41]).to_excel(book)

    workbook_to_parquet(book, tmp_path / "b.parquet")

    assert pq.read_table(tmp_path / "b.parquet").to_pylist() == [
        {"unnamed_0": "41", "user_id": "ann", "item_id": "tea", "__sheet": 0}
    ]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["id", None, "when"], ["id", "unnamed_1", "when"]),
        (["id", "  ", "when"], ["id", "unnamed_1", "when"]),
        (["id", "when", None, " "], ["id", "when"]),
        ([2024, "when"], ["2024", "when"]),
    ],
)
def test_every_column_up_to_the_last_name_is_kept(tmp_path: Path, header: list[object], names: list[str]) -> None:
    """Blank header cells between names are columns; to the right of the last name there is no table any more."""
    workbook_to_parquet(write(tmp_path / "b.xlsx", [header, [1, 2, 3, 4]]), tmp_path / "b.parquet")

    assert pq.read_schema(tmp_path / "b.parquet").names == [*names, "__sheet"]


def test_stray_cells_to_the_right_make_no_other_table(tmp_path: Path) -> None:
    """A note beside one of the sheets does not keep them from being read as one log."""
    book = write(tmp_path / "b.xlsx", [["id"], [1, "a note"]], [["id"], [2]])

    workbook_to_parquet(book, tmp_path / "b.parquet")

    assert pq.read_table(tmp_path / "b.parquet")["id"].to_pylist() == ["1", "2"]


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
