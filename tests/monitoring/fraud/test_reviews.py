"""Analysts look at the greatest expected losses of a day that wait, and at no more than they can."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ingest.errors import SourceError
from monitoring.fraud.folder import write_folder
from monitoring.fraud.ledger import EPOCH, Ledger
from monitoring.fraud.reviews import queue_of
from tests.monitoring.fraud.small_issuer import date_of, known_on, tables

DAY = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables as they were on the midnight after the day."""
    folder = tmp_path_factory.mktemp("issuer")
    write_folder(known_on(tables(), DAY + 1), folder)
    return folder


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger.of(known_on(tables(), DAY + 1))


@pytest.mark.parametrize("capacity", [1, 10, 60])
def test_no_payment_that_waits_is_expected_to_lose_more(folder: Path, ledger: Ledger, capacity: int) -> None:
    """Greatest first; what was blocked or has a label is not on the list."""
    queue = queue_of(folder, date_of(DAY), capacity)
    number = (date_of(DAY) - EPOCH).days
    rows = ledger.rows(number, number + 1)
    labelled = ledger.book.looked_at(number + 1, rows)
    waits = {
        int(row_id): score * amount
        for row_id, score, amount, blocked, known in zip(
            ledger.columns["transaction_id"][rows],
            ledger.score[rows],
            ledger.columns["amount"][rows],
            ledger.decided.blocked[rows],
            labelled,
            strict=True,
        )
        if not blocked and not known
    }
    assert len(queue.reviews) == min(capacity, len(waits))
    assert queue.waiting == len(waits) < rows.stop - rows.start
    losses = [review.expected_loss for review in queue.reviews]
    assert losses == sorted(losses, reverse=True)
    chosen = {review.transaction_id for review in queue.reviews}
    assert min(losses) >= max((loss for row_id, loss in waits.items() if row_id not in chosen), default=0.0)
    assert queue.covered == pytest.approx(sum(losses) / sum(waits.values()))
    assert all(review.expected_loss == pytest.approx(review.score * review.amount) for review in queue.reviews)
    assert {review.at.date() for review in queue.reviews} == {date_of(DAY)}


def test_a_day_without_scores_is_an_error_that_says_which_there_are(folder: Path) -> None:
    with pytest.raises(SourceError, match=re.escape(f"to {date_of(DAY)}: choose one of them")):
        queue_of(folder, date(2000, 1, 1))


def test_the_command_tells_it_as_a_table_and_as_json(folder: Path) -> None:
    from cli import app

    command = ["reviews", str(folder), "--day", str(date_of(DAY)), "--capacity", "3"]
    told, said = CliRunner().invoke(app, [*command, "--json"]), CliRunner().invoke(app, command)
    record = json.loads(told.stdout)
    assert [review["transaction_id"] for review in record["reviews"]] == [
        review.transaction_id for review in queue_of(folder, date_of(DAY), 3).reviews
    ]
    assert f"3 of {record['waiting']:,} payments of {date_of(DAY)} that wait" in said.stdout
    assert str(record["reviews"][0]["transaction_id"]) in said.stdout
