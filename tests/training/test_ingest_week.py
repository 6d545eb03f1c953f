"""A log that other people write: its weeks come late, are added to, or were wrong, and nothing of that is lost or backdated."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ingest.lake import read_interactions
from training.settings import build_settings
from training.weekly import ingest_week
from training.workspace import Workspace

WEEK = timedelta(days=7)
FIRST = datetime(2024, 1, 1)  # the Monday of the log's first week
HEADER = "user_id,item_id,timestamp,price\n"


def row(week: int, number: int, price: float = 2.5) -> str:
    when = FIRST + week * WEEK + timedelta(hours=number)
    return f"u{number % 5},i{number % 7},{when:%Y-%m-%d %H:%M:%S},{price}\n"


def rows(week: int, count: int = 30, price: float = 2.5) -> str:
    return "".join(row(week, number, price) for number in range(count))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three weeks of a log."""
    path = tmp_path / "log.csv"
    path.write_text(HEADER + rows(0) + rows(1) + rows(2))
    return path


@pytest.fixture
def ws(tmp_path: Path, log: Path) -> Workspace:
    """The workspace in which the first Monday, that of the third week's arrival, has been ingested."""
    settings = build_settings(tmp_path / "home", source="interactions", data=log, start=monday(3).date())
    workspace = Workspace(settings)
    ingest_week(workspace, monday(3))
    return workspace


def monday(weeks: int) -> datetime:
    return FIRST + weeks * WEEK


def known(ws: Workspace, as_of: datetime) -> int:
    return read_interactions(ws.lake.root, ws.lake.snapshot(as_of)).num_rows


def test_a_week_that_never_came_holds_training(ws: Workspace) -> None:
    """Nothing broken arrived, because nothing did: the newest week must not look as if nobody had bought anything."""
    assert ws.lake.snapshot(monday(3)).contract_state == "accepted"
    ingest_week(ws, monday(4))
    snapshot = ws.lake.snapshot(monday(4))
    assert (snapshot.contract_state, snapshot.hold_reason) == ("held", "nothing has arrived of the week of 2024-01-22")


def test_a_late_week_is_taken_in_when_it_comes(ws: Workspace, log: Path) -> None:
    """It arrives on the Monday that finds it; what was known on the Monday before stays what it was."""
    ingest_week(ws, monday(4))
    before = ws.lake.snapshot(monday(4))
    log.write_text(log.read_text() + rows(3) + rows(4))
    part = ingest_week(ws, monday(5))
    assert known(ws, monday(5)) == 150
    assert ws.lake.snapshot(monday(4)) == before
    assert ws.lake.snapshot(monday(5)).contract_state == "accepted"
    assert ws.lake.snapshot(monday(5)).missing_weeks == ()
    assert {delivery["arrived"] for delivery in part["deliveries"]} == {monday(5).isoformat()}


def test_rows_added_to_an_old_week_are_taken_in_once(ws: Workspace, log: Path) -> None:
    """A correction at the log's end belongs to the week it describes, and is known from the Monday that finds it."""
    log.write_text(log.read_text() + rows(3) + row(1, 99) + row(1, 100))
    ingest_week(ws, monday(4))
    assert known(ws, monday(3)) == 90
    assert known(ws, monday(4)) == 90 + 30 + 2
    log.write_text(log.read_text() + rows(4))
    ingest_week(ws, monday(5))
    assert known(ws, monday(5)) == 90 + 30 + 2 + 30


def test_a_quarantined_week_that_was_mended_in_place_is_taken_in(ws: Workspace, log: Path) -> None:
    """Pence for pounds hold training; the same file with pounds ends that."""
    pounds = log.read_text()
    log.write_text(pounds + rows(3, price=250))
    ingest_week(ws, monday(4))
    assert ws.lake.snapshot(monday(4)).contract_state == "held"
    log.write_text(pounds + rows(3) + rows(4))
    ingest_week(ws, monday(5))
    assert ws.lake.snapshot(monday(5)).contract_state == "accepted"
    assert known(ws, monday(5)) == 150


def test_a_killed_ingest_tells_the_same_afterwards(ws: Workspace, log: Path) -> None:
    """The batches are in the lake, the part is not: done again, it names them as if it had not been killed."""
    log.write_text(log.read_text() + rows(3))
    told = ingest_week(ws, monday(4))
    ws.part_path(monday(4), "ingest").unlink()
    again = ingest_week(ws, monday(4))
    assert [d["status"] for d in again["deliveries"]] == ["accepted"]
    assert {**again, "seconds": 0} == {**told, "seconds": 0}
