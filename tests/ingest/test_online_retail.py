"""Online Retail II is taken in as published, and its purchases are exactly those of the published protocol."""

import os
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import SourceError
from ingest.file_source import FileSource
from ingest.lake import BatchReport, Lake, read_interactions
from ingest.online_retail import open_online_retail

COLUMNS = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]
DAY = datetime(2010, 12, 1, 8, 26)
LAMP = (489434, "85123A", "WHITE LAMP", 6, DAY, 2.55, 17850.0, "United Kingdom")
BOX = (489435, 22632, "RED BOX", 2, DAY, 1.25, 13085.0, "France")
BAD = {
    "user_id missing": (489436, "85123A", "WHITE LAMP", 6, DAY, 2.55, None, "United Kingdom"),
    "item_id not a product code": (489437, "POST", "POSTAGE", 1, DAY, 18.0, 13085.0, "France"),
    "quantity not positive": (489438, "85123A", "damaged", -6, DAY, 2.55, 13085.0, "France"),
    "price not positive": (489439, "85123A", "WHITE LAMP", 6, DAY, 0.0, 13085.0, "France"),
}
RETURN = ("C489440", "85123A", "WHITE LAMP", -2, DAY, 2.55, 17850.0, "United Kingdom")

Lines = list[tuple[object, ...]]


def write_csv(path: Path, lines: Lines) -> Path:
    pd.DataFrame(lines, columns=COLUMNS).to_csv(path, index=False)
    return path


def write_workbook(path: Path, *sheets: Lines) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for lines in sheets:
        sheet = book.create_sheet()
        for line in [tuple(COLUMNS), *lines]:
            sheet.append(line)
    book.save(path)
    return path


def ingested(source: FileSource, root: Path) -> tuple[pd.DataFrame, list[BatchReport]]:
    lake = Lake(root)
    for arrived in source.arrivals():
        for delivery in source.deliveries(arrived):
            lake.ingest(delivery, source.contract)
    last = source.arrivals()[-1]
    return read_interactions(root, lake.snapshot(last)).to_pandas(), lake.reports(last)


def test_lines_become_interactions_and_the_rest_has_a_reason(tmp_path: Path) -> None:
    """Lines without a customer, a product, a quantity or a price are quarantined, each under its rule."""
    source = open_online_retail(write_csv(tmp_path / "or.csv", [LAMP, BOX, *BAD.values()]), tmp_path / "staging")

    rows, (report,) = ingested(source, tmp_path / "lake")

    kept = ["user_id", "item_id", "event", "event_time", "quantity", "price", "item_text", "country"]
    assert rows[kept].to_numpy().tolist() == [
        ["17850", "85123A", "purchase", pd.Timestamp(DAY), 6.0, 2.55, "WHITE LAMP", "United Kingdom"],
        ["13085", "22632", "purchase", pd.Timestamp(DAY), 2.0, 1.25, "RED BOX", "France"],
    ]
    assert report.rules == dict.fromkeys(BAD, 1)
    assert (report.week, report.arrived) == (date(2010, 11, 29), datetime(2010, 12, 6))


def test_a_cancellation_is_a_return_of_what_came_back(tmp_path: Path) -> None:
    """A line of an invoice C... is an event of its own with a positive quantity, and no purchase."""
    rows, _ = ingested(
        open_online_retail(write_csv(tmp_path / "or.csv", [LAMP, RETURN]), tmp_path / "s"), tmp_path / "l"
    )

    assert rows[["event", "quantity"]].to_numpy().tolist() == [["purchase", 6.0], ["return", 2.0]]


def test_csv_workbook_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    """Numbers among the stock codes and floats among the customers make no difference between formats."""
    lines = [LAMP, BOX, RETURN, *BAD.values()]
    table = pd.DataFrame(lines, columns=COLUMNS).astype({"Invoice": str, "StockCode": str})
    pq.write_table(pa.Table.from_pandas(table.rename(columns={"Customer ID": "CustomerID"})), tmp_path / "or.parquet")
    files = [
        write_csv(tmp_path / "or.csv", lines),
        write_workbook(tmp_path / "or.xlsx", lines),
        tmp_path / "or.parquet",
    ]

    csv, workbook, parquet = (
        ingested(open_online_retail(file, tmp_path / "staging"), tmp_path / file.suffix[1:])[0].drop(columns="batch_id")
        for file in files
    )

    pd.testing.assert_frame_equal(workbook, csv)
    pd.testing.assert_frame_equal(parquet, csv)


def test_lines_that_two_sheets_share_count_once(tmp_path: Path) -> None:
    """The published sheets overlap by nine days: what both hold is one sale, what one holds twice is two."""
    book = write_workbook(tmp_path / "or.xlsx", [LAMP, LAMP, BOX], [BOX, RETURN])

    rows, _ = ingested(open_online_retail(book, tmp_path / "staging"), tmp_path / "lake")

    assert rows["item_text"].to_list() == ["WHITE LAMP", "WHITE LAMP", "RED BOX", "WHITE LAMP"]


def test_lines_that_two_files_share_count_once(tmp_path: Path) -> None:
    """The two sheets saved as two CSV files are the same data."""
    (tmp_path / "data").mkdir()
    write_csv(tmp_path / "data" / "online_retail_2009.csv", [LAMP, BOX])
    write_csv(tmp_path / "data" / "online_retail_2010.csv", [BOX, RETURN])

    rows, _ = ingested(open_online_retail(tmp_path / "data", tmp_path / "staging"), tmp_path / "lake")

    assert rows["item_text"].to_list() == ["WHITE LAMP", "RED BOX", "WHITE LAMP"]


def test_another_files_columns_are_not_enough(tmp_path: Path) -> None:
    """A file of another kind is refused with all that it lacks."""
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\na,b,2024-01-01\n")

    with pytest.raises(SourceError, match=r"lacks Invoice or InvoiceNo; CustomerID or Customer ID.*; StockCode"):
        open_online_retail(tmp_path / "log.csv", tmp_path / "staging")


# --- the real data ----------------------------------------------------------------------------------------------------

DATA_DIR = os.environ.get("DATA_DIR")


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA_DIR, reason="THE REAL DATA IS NOT TESTED: set DATA_DIR to the folder that holds online_retail_ii*.parquet"
)
def test_the_real_purchases_are_those_of_the_protocol_and_no_week_is_doubted(tmp_path: Path) -> None:
    """Every real week is accepted, and the lake's purchases are the published rows under the protocol's filter."""
    folder = Path(str(DATA_DIR))
    rows, reports = ingested(open_online_retail(folder, tmp_path / "staging"), tmp_path / "lake")
    purchases = rows[rows["event"] == "purchase"]

    published = pq.read_table(sorted(folder.glob("online_retail_ii*.parquet"))[0]).to_pandas()
    customer = "CustomerID" if "CustomerID" in published else "Customer ID"
    expected = published[
        published[customer].notna()
        & ~published["Invoice"].str.startswith("C")
        & (published["Quantity"] > 0)
        & (published["Price"] > 0)
        & published["StockCode"].str.match(r"\d{5}")
    ]
    assert {report.status for report in reports} == {"accepted"}
    assert len(purchases) == len(expected)
    assert purchases["quantity"].sum() == expected["Quantity"].sum()
    assert set(purchases["user_id"]) == set(expected[customer].astype(int).astype(str))
    assert set(purchases["item_id"]) == set(expected["StockCode"])
    assert sum(report.rows_in for report in reports) == len(published)
