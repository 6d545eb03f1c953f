"""Any log of users, items and times can be taken in, and what cannot be read is said with its remedy."""

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import SourceError
from ingest.file_source import FileSource
from ingest.interactions import open_interactions
from ingest.lake import BatchReport, Lake, read_interactions
from ingest.staging import PLAIN, Reading

OpenLog = Callable[..., FileSource]

HEADER = "user_id,item_id,timestamp"
LINES = ["ann,tea,2024-01-02 10:00", "bob,jam,2024-01-03 11:00", "ann,jam,2024-01-16 09:00"]


@pytest.fixture
def opened(tmp_path: Path) -> OpenLog:
    """Write a file and open it as a log."""

    def write_and_open(
        lines: list[str],
        header: str = HEADER,
        *,
        encoding: str = "utf-8",
        reading: Reading = PLAIN,
        **options: object,
    ) -> FileSource:
        file = tmp_path / "log.csv"
        file.write_bytes("\n".join([header, *lines, ""]).encode(encoding))
        return open_interactions(file, tmp_path / "staging", reading=reading, **options)

    return write_and_open


def ingested(source: FileSource, root: Path) -> tuple[pd.DataFrame, list[BatchReport]]:
    lake = Lake(root)
    for arrived in source.arrivals():
        for delivery in source.deliveries(arrived):
            lake.ingest(delivery, source.contract)
    last = source.arrivals()[-1]
    return read_interactions(root, lake.snapshot(last)).to_pandas(), lake.reports(last)


def test_each_week_lands_on_the_monday_after_it_and_quiet_weeks_too(opened: OpenLog, tmp_path: Path) -> None:
    """A week with no purchases is an arrival with an empty delivery, accepted with no rows."""
    source = opened(LINES)

    rows, reports = ingested(source, tmp_path / "lake")

    assert source.arrivals() == [datetime(2024, 1, 8), datetime(2024, 1, 15), datetime(2024, 1, 22)]
    assert [(report.week, report.status, report.rows_accepted) for report in reports] == [
        (date(2024, 1, 1), "accepted", 2),
        (date(2024, 1, 8), "accepted", 0),
        (date(2024, 1, 15), "accepted", 1),
    ]
    assert list(rows["user_id"]) == ["ann", "bob", "ann"]


def test_nothing_arrives_on_other_days(opened: OpenLog) -> None:
    """A moment on which nothing landed has no deliveries."""
    assert opened(LINES).deliveries(datetime(2024, 1, 9)) == []


def test_rows_are_delivered_as_published_in_the_order_of_the_file(opened: OpenLog) -> None:
    """Nothing is repaired before the contract has seen it, not even spaces."""
    source = opened(["b,x,2024-01-03", " a ,x,2024-01-02", "c,x,"])

    (delivery,) = source.deliveries(datetime(2024, 1, 8))

    assert delivery.rows.to_pylist() == [
        {"user_id": "b", "item_id": "x", "timestamp": "2024-01-03"},
        {"user_id": " a ", "item_id": "x", "timestamp": "2024-01-02"},
        {"user_id": "c", "item_id": "x", "timestamp": None},
    ]


@pytest.mark.parametrize(
    ("lines", "users", "items"),
    [
        pytest.param([f"ann,i{n},2024-01-0{n + 1}" for n in range(7)], 1, 7, id="one user"),
        pytest.param([f"u{n},tea,2024-01-0{n + 1}" for n in range(7)], 7, 1, id="one item"),
        pytest.param(["ann,tea,2024-01-02"], 1, 1, id="one row"),
    ],
)
def test_the_smallest_logs_work(opened: OpenLog, tmp_path: Path, lines: list[str], users: int, items: int) -> None:
    """One user, one item or one row is little, and still a log."""
    rows, _ = ingested(opened(lines), tmp_path / "lake")

    assert (len(rows), rows["user_id"].nunique(), rows["item_id"].nunique()) == (len(lines), users, items)


def test_a_tenth_of_missing_ids_loses_those_rows_only(opened: OpenLog, tmp_path: Path) -> None:
    """Ten per cent of nulls is the most that is usual: the rows go to quarantine, the rest stays."""
    lines = [f"{'' if n % 10 == 0 else n},tea,2024-01-02 10:{n % 60:02}" for n in range(200)]

    rows, (report,) = ingested(opened(lines), tmp_path / "lake")

    assert (report.status, len(rows), report.rules) == ("accepted", 180, {"user_id missing": 20})


def test_mixed_id_types_are_one_customer(opened: OpenLog, tmp_path: Path) -> None:
    """13085, 13085.0 and "13085" are read as the same id, and the report notes it."""
    lines = ["13085,tea,2024-01-02", "13085.0,jam,2024-01-03", '"13085",rye,2024-01-04']

    rows, (report,) = ingested(opened(lines), tmp_path / "lake")

    assert set(rows["user_id"]) == {"13085"}
    assert report.notes == ("mixed ids: 1 of user_id were spelled like 13085.0 and are kept as 13085",)


def test_equal_rows_of_a_file_are_all_kept(opened: OpenLog, tmp_path: Path) -> None:
    """Equal rows of one file are real; what repeats an earlier batch is for the lake to find, not for the reader."""
    rows, _ = ingested(opened([LINES[0], LINES[0], LINES[1]]), tmp_path / "lake")

    assert len(rows) == 3


def test_optional_columns_are_used_and_others_noted(opened: OpenLog, tmp_path: Path) -> None:
    """Event, quantity, price, text and country are kept; a column of one's own is noted."""
    header = HEADER + ",event,quantity,price,item_text,country,mood"
    lines = ["ann,tea,2024-01-02,purchase,2,1.5,Green tea,Japan,fine", "ann,tea,2024-01-03,view,,,,,"]

    rows, (report,) = ingested(opened(lines, header), tmp_path / "lake")

    columns = ["event", "quantity", "price", "item_text", "country"]
    assert rows[columns].iloc[0].to_list() == ["purchase", 2.0, 1.5, "Green tea", "Japan"]
    assert rows[columns].isna().iloc[1].to_list() == [False, False, True, True, True]
    assert report.notes == ("added column: mood",)


# --- times ------------------------------------------------------------------------------------------------------------


def test_iso_and_one_other_form_of_date_may_be_mixed(opened: OpenLog, tmp_path: Path) -> None:
    """One cell such as 25/01/2024 settles that 02/01/2024 is the second of January."""
    source = opened(["a,x,2024-01-01 08:00", "a,x,02/01/2024 09:00", "a,x,25/01/2024", "a,x,1706313600"])

    rows, _ = ingested(source, tmp_path / "lake")

    assert rows["event_time"].to_list() == [
        pd.Timestamp("2024-01-01 08:00"),
        pd.Timestamp("2024-01-02 09:00"),
        pd.Timestamp("2024-01-25"),
        pd.Timestamp("2024-01-27"),
    ]


def test_day_first_and_month_first_in_one_column_are_refused(opened: OpenLog) -> None:
    """Where both 25/01 and 01/25 occur, 02/01 could be either; a guess would move events by months."""
    with pytest.raises(SourceError, match=r"mixes two orders in timestamp: 1 dates must be day-first, 1 month-first"):
        opened(["a,x,25/01/2024", "a,x,01/25/2024", "a,x,02/01/2024"])


def test_dates_that_show_no_order_need_a_word(opened: OpenLog, tmp_path: Path) -> None:
    """02/01/2024 alone is refused with the option to use, and read with it."""
    with pytest.raises(SourceError, match="--date-order day-first or --date-order month-first"):
        opened(["a,x,02/01/2024"])

    rows, _ = ingested(opened(["a,x,02/01/2024"], reading=Reading(date_order="day-first")), tmp_path / "lake")
    assert rows["event_time"].to_list() == [pd.Timestamp("2024-01-02")]


def test_unreadable_times_are_quarantined_with_the_first_delivery(opened: OpenLog, tmp_path: Path) -> None:
    """A row without a readable time belongs to no week; it is kept, with its rule, on the first Monday."""
    rows, reports = ingested(opened([*LINES, "cat,rye,soon", "cat,rye,9999-12-31"]), tmp_path / "lake")

    assert reports[0].rules == {"timestamp unreadable": 2}
    assert (len(rows), reports[0].status) == (3, "accepted")


def test_a_column_that_holds_no_times_is_refused(opened: OpenLog) -> None:
    """When most cells are unreadable the column is the wrong one; the message shows a cell and the accepted forms."""
    with pytest.raises(
        SourceError, match=r"3 of 3 cells of timestamp cannot be read as a time, such as 'soon'.*ISO 8601"
    ):
        opened(["a,x,soon", "a,x,soon", "a,x,soon"])


# --- files that cannot be read ----------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path that was given is in the message."""
    with pytest.raises(SourceError, match=r"no file or folder .*nowhere\.csv"):
        open_interactions(tmp_path / "nowhere.csv", tmp_path / "staging")


def test_wrong_columns_are_named_with_a_hint(opened: OpenLog) -> None:
    """The message lists what is missing, what was found, and what was probably meant."""
    with pytest.raises(
        SourceError, match=r"lacks user_id \(is it 'UserID'\?\); timestamp \(is it 'time_stamp'\?\)"
    ) as e:
        opened(LINES, "UserID,item_id,time_stamp")

    assert "Columns found: UserID, item_id, time_stamp" in str(e.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "begins with a blank line"),
        (b"user_id,item_id,timestamp\n", "column names but no rows"),
        (b"user_id,item_id,timestamp,User_ID\na,b,2024-01-01,c\n", "several columns named User_ID, user_id"),
        (b"user_id,item_id,timestamp\na,b,2024-01-01\na,b,c,d,e\n", "cannot be read.*Line: 3"),
    ],
)
def test_files_without_a_table_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Empty files, headers alone, doubled names and lines that are too long are told apart."""
    file = tmp_path / "log.csv"
    file.write_bytes(content)

    with pytest.raises(SourceError, match=message):
        open_interactions(file, tmp_path / "staging")


def test_text_in_another_encoding_is_refused_with_the_place_and_read_when_named(
    opened: OpenLog, tmp_path: Path
) -> None:
    """The first byte that is not UTF-8 is named, and so is the option that reads the file."""
    lines = ["zoé,thé,2024-01-02"]
    with pytest.raises(SourceError, match=r"is not utf-8: byte 28 is 0xe9.*--encoding latin-1"):
        opened(lines, encoding="latin-1")

    rows, _ = ingested(opened(lines, encoding="latin-1", reading=Reading(encoding="latin-1")), tmp_path / "lake")
    assert rows[["user_id", "item_id"]].to_numpy().tolist() == [["zoé", "thé"]]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_byte_order_mark_and_other_separators_are_no_obstacle(
    opened: OpenLog, tmp_path: Path, separator: str
) -> None:
    """What Excel writes on a continental machine is read as it stands."""
    lines = [line.replace(",", separator) for line in LINES]
    source = opened(lines, HEADER.replace(",", separator), encoding="utf-8-sig")

    assert len(ingested(source, tmp_path / "lake")[0]) == 3


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    """A damaged Parquet file or workbook is an answer, not a traceback; so is an unknown format."""
    for name in ("log.parquet", "log.xlsx", "log.doc"):
        (tmp_path / name).write_text("this is plain text, whatever the name says")
        with pytest.raises(SourceError, match=name):
            open_interactions(tmp_path / name, tmp_path / "staging")


# --- events, formats and folders --------------------------------------------------------------------------------------


def test_a_log_without_purchases_says_how_to_name_them(opened: OpenLog, tmp_path: Path) -> None:
    """If buying is called order, the message lists the events and the option; with the option it works."""
    lines, header = ["a,x,2024-01-02,order", "a,y,2024-01-02,view"], HEADER + ",event"
    with pytest.raises(SourceError, match=r"Its events are order, view.*--purchase-events"):
        opened(lines, header)

    rows, _ = ingested(opened(lines, header, purchase_events=("order",)), tmp_path / "lake")
    assert list(rows["event"]) == ["purchase", "view"]


def test_parquet_with_types_of_its_own_gives_the_same_rows(opened: OpenLog, tmp_path: Path) -> None:
    """Ids as floats, zoned times and a nested column are no obstacle, and text says the same thing."""
    table = pa.table(
        {
            "user_id": pa.array([7.0, 8.0, None]),
            "item_id": pa.array([1, 2, 3], pa.int32()),
            "timestamp": pa.array([datetime(2024, 1, 2)] * 3, pa.timestamp("ns", "UTC")),
            "tags": pa.array([["new"], [], None]),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")

    rows, (report,) = ingested(open_interactions(tmp_path / "log.parquet", tmp_path / "staging"), tmp_path / "lake")

    assert rows[["user_id", "item_id"]].to_numpy().tolist() == [["7", "1"], ["8", "2"]]
    assert (report.rules, report.notes) == ({"user_id missing": 1}, ("added column: tags",))


def test_a_folder_is_one_log(tmp_path: Path) -> None:
    """Files of a folder are stacked by week; a file that is added later is found, and the others are not cut again."""
    folder, staging = tmp_path / "logs", tmp_path / "staging"
    folder.mkdir()
    (folder / "1.csv").write_text(f"{HEADER}\nann,tea,2024-01-02\n")
    open_interactions(folder, staging)
    (folder / "2.csv").write_text(f"{HEADER},mood\nbob,jam,2024-01-03,fine\n")

    rows, _ = ingested(open_interactions(folder, staging), tmp_path / "lake")

    assert list(rows["user_id"]) == ["ann", "bob"]
    assert len(list(staging.iterdir())) == 2


@pytest.mark.parametrize(("names", "message"), [([], "holds no data file"), (["a.csv", "a.parquet"], "mixes")])
def test_a_folder_of_nothing_or_of_two_formats_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    """A folder that holds a log and its conversion would count every row twice."""
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(SourceError, match=message):
        open_interactions(tmp_path, tmp_path / "staging")
