"""The lake takes each batch once, shows only what is complete, and can say what it knew at any moment."""

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.errors import LakeError
from ingest.lake import BatchReport, Lake, read_interactions, read_quarantine
from ingest.schema import INTERACTIONS, WEEK, arrival_of
from ingest.source import Delivery
from tests.ingest.example_deliveries import CONTRACT, WEEK_1, WEEK_2, WEEK_3, delivery_of, rows_of, with_cells

MONDAY_1, MONDAY_2, MONDAY_3 = arrival_of(WEEK_1), arrival_of(WEEK_2), arrival_of(WEEK_3)
IN_PENCE = with_cells(rows_of(WEEK_2), "price", {row: 100.0 * (2.5 + row % 20) for row in range(60)})


def contents(lake: Lake) -> dict[str, bytes]:
    return {str(path.relative_to(lake.root)): path.read_bytes() for path in lake.root.rglob("*") if path.is_file()}


def ingested(root: Path, *deliveries: Delivery) -> Lake:
    lake = Lake(root)
    for delivery in deliveries:
        lake.ingest(delivery, CONTRACT)
    return lake


def test_what_was_delivered_can_be_read_back_in_canonical_form(tmp_path: Path) -> None:
    """A batch becomes canonical rows, stamped with the Monday on which they became known."""
    lake = ingested(tmp_path, delivery_of(WEEK_1))

    table = read_interactions(lake.root, lake.snapshot(MONDAY_1))

    assert table.schema == INTERACTIONS
    assert table.num_rows == 60
    assert table.slice(0, 1).to_pylist() == [
        {
            "user_id": "u0",
            "item_id": "i0",
            "event": "purchase",
            "event_time": datetime(2024, 1, 1),
            "quantity": 1.0,
            "price": 2.5,
            "item_text": "thing 0",
            "country": "France",
            "available_at": MONDAY_1,
            "batch_id": lake.reports(MONDAY_1)[0].batch_id,
        }
    ]


def test_the_same_delivery_twice_adds_nothing(tmp_path: Path) -> None:
    """A repeated run finds its batch known and leaves every byte as it was."""
    lake = ingested(tmp_path, delivery_of(WEEK_1))
    before = contents(lake)

    report = lake.ingest(delivery_of(WEEK_1), CONTRACT)

    assert report.status == "already_known"
    assert contents(lake) == before


def test_bad_rows_are_kept_as_published_with_their_rule(tmp_path: Path) -> None:
    """Quarantine loses nothing: a row can be read there as it came, beside the reason."""
    rows = with_cells(rows_of(WEEK_1), "price", {3: "£3", 5: None})
    lake = ingested(tmp_path, delivery_of(WEEK_1, with_cells(rows, "user_id", {9: None})))

    (report,) = lake.reports(MONDAY_1)
    bad = read_quarantine(lake.root, report).to_pylist()

    assert (report.status, report.rows_in, report.rows_accepted, report.rows_quarantined) == ("accepted", 60, 58, 2)
    assert report.rules == {"price unreadable": 1, "user_id missing": 1}
    assert [(row["row"], row["rule"]) for row in bad] == [(3, "price unreadable"), (9, "user_id missing")]
    assert json.loads(bad[0]["published"])["price"] == "£3"


def test_a_condemned_batch_is_kept_whole_in_quarantine(tmp_path: Path) -> None:
    """Of a batch in the wrong unit not one row reaches the lake, and every row can be looked at."""
    lake = ingested(tmp_path, delivery_of(WEEK_1), delivery_of(WEEK_2, IN_PENCE))

    report = lake.reports(MONDAY_2)[1]

    assert (report.status, report.rows_accepted, report.rows_quarantined) == ("quarantined", 0, 60)
    assert report.rules == {"unit of price changed": 60}
    assert read_quarantine(lake.root, report).num_rows == 60
    assert lake.snapshot(MONDAY_2).rows == 60


def test_a_condemned_latest_arrival_holds_the_snapshot(tmp_path: Path) -> None:
    """Nobody should train on a week whose file cannot be trusted; the reason names the week and the figures."""
    lake = ingested(tmp_path, delivery_of(WEEK_1), delivery_of(WEEK_2, IN_PENCE))

    held = lake.snapshot(MONDAY_2)

    assert held.contract_state == "held"
    assert held.hold_reason is not None
    assert held.hold_reason.startswith("week 2024-01-08 of log: unit of price changed: 100% of prices are about 100")
    assert held.missing_weeks == (WEEK_2,)
    assert lake.snapshot(MONDAY_1).contract_state == "accepted"


def test_an_accepted_redelivery_ends_the_hold(tmp_path: Path) -> None:
    """The right file, sent a week later, closes the gap; what was known before stays known as it was."""
    lake = ingested(tmp_path, delivery_of(WEEK_1), delivery_of(WEEK_2, IN_PENCE))
    before = lake.snapshot(MONDAY_2)

    lake.ingest(delivery_of(WEEK_2, arrived=MONDAY_3), CONTRACT)
    lake.ingest(delivery_of(WEEK_3), CONTRACT)

    after = lake.snapshot(MONDAY_3)
    assert (after.contract_state, after.hold_reason, after.missing_weeks, after.rows) == ("accepted", None, (), 180)
    assert lake.snapshot(MONDAY_2) == before


def test_a_later_good_week_ends_the_hold_but_the_gap_stays_on_record(tmp_path: Path) -> None:
    """Without a redelivery the world goes on; the missing week is still named."""
    lake = ingested(tmp_path, delivery_of(WEEK_1), delivery_of(WEEK_2, IN_PENCE), delivery_of(WEEK_3))

    snapshot = lake.snapshot(MONDAY_3)

    assert (snapshot.contract_state, snapshot.missing_weeks) == ("accepted", (WEEK_2,))


def test_last_weeks_file_under_this_weeks_name_is_condemned(tmp_path: Path) -> None:
    """A duplicate delivery is recognised by its content, although its batch id is new."""
    lake = ingested(tmp_path, delivery_of(WEEK_1))

    report = lake.ingest(delivery_of(WEEK_2, rows_of(WEEK_1)), CONTRACT)

    assert (report.status, report.rules) == ("quarantined", {"duplicated batch": 60})


def test_weeks_that_never_arrived_are_missing(tmp_path: Path) -> None:
    """Every full week since the first should have arrived; one that brought no rows has arrived."""
    lake = ingested(tmp_path, delivery_of(WEEK_1), delivery_of(WEEK_2, rows_of(WEEK_2, 0)))

    assert lake.snapshot(MONDAY_3).missing_weeks == (WEEK_3,)


def test_an_empty_week_is_accepted_with_no_rows_and_no_file(tmp_path: Path) -> None:
    """A quiet week is on record and does not change what is known."""
    lake = ingested(tmp_path, delivery_of(WEEK_1))
    before = lake.snapshot(MONDAY_1).id

    report = lake.ingest(delivery_of(WEEK_2, rows_of(WEEK_2, 0)), CONTRACT)

    assert (report.status, report.rows_in, report.files) == ("accepted", 0, ())
    assert lake.snapshot(MONDAY_2).id == before


def test_a_snapshot_does_not_see_the_future(tmp_path: Path) -> None:
    """As of the first Monday only the first batch is known, whatever has arrived since."""
    early = ingested(tmp_path / "early", delivery_of(WEEK_1)).snapshot(MONDAY_1)
    later = ingested(tmp_path / "later", delivery_of(WEEK_1), delivery_of(WEEK_2)).snapshot(MONDAY_1)

    assert later == early


def test_an_empty_lake_has_an_empty_snapshot(tmp_path: Path) -> None:
    """Before the first delivery there is nothing, and that is not an error."""
    snapshot = Lake(tmp_path / "new").snapshot(MONDAY_1)

    assert (snapshot.rows, snapshot.files, snapshot.contract_state) == (0, (), "accepted")
    assert read_interactions(tmp_path / "new", snapshot).schema == INTERACTIONS


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """The lake is append-only, and reading it proves that."""
    lake = ingested(tmp_path, delivery_of(WEEK_1))
    snapshot = lake.snapshot(MONDAY_1)
    file = lake.root / snapshot.files[0].path
    file.write_bytes(file.read_bytes() + b" ")

    with pytest.raises(LakeError, match="has changed since it was written"):
        read_interactions(lake.root, snapshot)


def test_a_lost_file_is_refused(tmp_path: Path) -> None:
    """A manifest is a promise; a file that is gone breaks it loudly."""
    lake = ingested(tmp_path, delivery_of(WEEK_1))
    snapshot = lake.snapshot(MONDAY_1)
    (lake.root / snapshot.files[0].path).unlink()

    with pytest.raises(LakeError, match="is named by a manifest but cannot be read"):
        read_interactions(lake.root, snapshot)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    """Nobody should have to search for the file that stops everything."""
    lake = ingested(tmp_path, delivery_of(WEEK_1))
    manifest = next(lake.root.glob("manifests/*.json"))
    manifest.write_text("{")

    with pytest.raises(LakeError, match=manifest.name):
        lake.snapshot(MONDAY_1)


def test_a_report_survives_json(tmp_path: Path) -> None:
    """What the manifest holds is all there is to know about a batch."""
    (report,) = ingested(tmp_path, delivery_of(WEEK_1)).reports(MONDAY_1)

    assert BatchReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_order_and_repetition_of_ingestion_do_not_matter(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Sound deliveries make the same lake in any order and however often each is ingested."""
    weeks = [WEEK_1 + n * WEEK for n in range(3)]
    shuffled = data.draw(st.permutations(weeks + data.draw(st.lists(st.sampled_from(weeks), max_size=2))))

    straight = ingested(tmp_path_factory.mktemp("a"), *(delivery_of(week, rows_of(week, 25)) for week in weeks))
    lake = ingested(tmp_path_factory.mktemp("b"), *(delivery_of(week, rows_of(week, 25)) for week in shuffled))

    assert contents(lake) == contents(straight)
    assert lake.snapshot(MONDAY_3) == straight.snapshot(MONDAY_3)


# --- a disk that refuses ----------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 64 KiB or, without the right to mount one, a limit of that size on every file written."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, allowed[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)


def test_a_full_disk_leaves_the_lake_as_it_was(tmp_path: Path) -> None:
    """A batch that does not fit is refused with a remedy, and no part of it stays behind."""
    with small_disk(tmp_path / "disk"):
        lake = ingested(tmp_path / "disk", delivery_of(WEEK_1))
        before, snapshot = contents(lake), lake.snapshot(MONDAY_2)

        with pytest.raises(LakeError, match=r"could not be written.*free some space"):
            lake.ingest(delivery_of(WEEK_2, rows_of(WEEK_2, 20_000)), CONTRACT)

        assert contents(lake) == before
        assert lake.snapshot(MONDAY_2) == snapshot
        assert lake.ingest(delivery_of(WEEK_2), CONTRACT).status == "accepted"
