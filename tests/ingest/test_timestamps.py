"""Times are read in every published form, or not at all."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from ingest.timestamps import DateOrder, read_timestamps

MORNING = datetime(2010, 12, 1, 8, 26)


def read(cells: pa.Array, date_order: DateOrder | None = None) -> list[datetime | None]:
    return read_timestamps(pa.chunked_array([cells]), date_order).to_pylist()


@pytest.mark.parametrize(
    "cell",
    [
        "2010-12-01 08:26:00",
        "2010-12-01T08:26",
        " 2010-12-01 8:26 ",
        "2010/12/01 08:26",
        "2010-12-01T08:26:00Z",
        "2010-12-01T10:26:00+02:00",
        "1291191960",
        "1291191960000",
    ],
)
def test_iso_and_epoch_text_need_no_hint(cell: str) -> None:
    """ISO text, with or without an offset, and epoch seconds or milliseconds mean one moment only."""
    assert read(pa.array([cell])) == [MORNING]


@pytest.mark.parametrize(
    ("cell", "date_order", "moment"),
    [
        ("1/12/2010 8:26", "day-first", MORNING),
        ("01.12.2010 08:26:00", "day-first", MORNING),
        ("01/12/10 08:26", "day-first", MORNING),
        ("12/1/2010 8:26", "month-first", MORNING),
        ("12-01-2010 8:26 AM", "month-first", MORNING),
        ("2010-12-01 08:26", "day-first", MORNING),
        ("31/12/2010", "month-first", None),
        ("1/12/2010 8:26", None, None),
    ],
)
def test_other_dates_follow_the_given_order_only(
    cell: str, date_order: DateOrder | None, moment: datetime | None
) -> None:
    """01/12/2010 has a meaning only once its order is known; a cell of the other order is unreadable."""
    assert read(pa.array([cell]), date_order) == [moment]


@pytest.mark.parametrize("cell", ["soon", "", "2010-13-01", "1900-01-01", "9999-12-31", "0", "20101201"])
def test_placeholders_and_rubbish_are_not_times(cell: str) -> None:
    """A placeholder such as 1900-01-01 is as unreadable as a word, for either would stretch the calendar."""
    assert read(pa.array([cell]), "day-first") == [None]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([MORNING], pa.timestamp("ns")),
        pa.array([MORNING.replace(tzinfo=UTC)], pa.timestamp("us", "Europe/Paris")),
        pa.array([MORNING.replace(tzinfo=UTC)], pa.timestamp("ns", "UTC")),
        pa.array([1291191960]),
        pa.array([1291191960000]),
        pa.array([1291191960.0]),
    ],
)
def test_typed_columns_are_read_as_what_they_are(cells: pa.Array) -> None:
    """Timestamps of any unit and zone, and epoch numbers of any kind, become naive UTC."""
    assert read(cells) == [MORNING]


def test_a_date_is_its_midnight() -> None:
    """A log that knows only the day puts everything at 00:00."""
    assert read(pa.array([date(2010, 12, 1)])) == [datetime(2010, 12, 1)]
