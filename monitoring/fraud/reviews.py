"""The review queue of a day, from the tables: what was paid and nobody has looked at, the greatest expected losses first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from ingest.errors import SourceError
from monitoring.fraud.folder import read_folder
from monitoring.fraud.ledger import EPOCH, Ledger
from training.fraud.review_queue import CAPACITY, in_queue


@dataclass(frozen=True)
class Review:
    """A payment that an analyst is to look at; amounts and losses in the currency of the amounts."""

    transaction_id: int
    at: datetime
    amount: float
    score: float
    expected_loss: float
    model_version: str


@dataclass(frozen=True)
class Queue:
    """A day's reviews, and what they are of: how many payments wait, and which share of their expected loss is looked at."""

    day: date
    reviews: tuple[Review, ...]
    waiting: int
    covered: float


def queue_of(folder: Path, day: date, capacity: int = CAPACITY) -> Queue:
    """What analysts should look at on the morning after a day.

    What was blocked is no loss any more, and what some source has labelled by midnight needs no look. Raises SourceError when
    the folder cannot be read, or when no payment of that day has a score.
    """
    ledger, number = Ledger.of(read_folder(folder).tables), (day - EPOCH).days
    rows = ledger.rows(number, number + 1)
    score, amount = ledger.score[rows], np.asarray(ledger.columns["amount"][rows], np.float64)
    if not np.isfinite(score).any():
        raise SourceError(
            f"No payment of {day} has a score in {folder}. Its scores are of the days from {_first_and_last(ledger)}: choose one of them."
        )
    waits = ~ledger.decided.blocked[rows] & ~ledger.book.looked_at(number + 1, rows)
    expected = np.where(waits & np.isfinite(score * amount), score * amount, -1.0)
    chosen = np.flatnonzero(in_queue(expected, np.full(len(expected), number), capacity) & (expected >= 0))
    chosen = chosen[np.argsort(-expected[chosen], kind="stable")]
    moments, ids = ledger.columns["timestamp"][rows], ledger.columns["transaction_id"][rows]
    reviews = tuple(
        Review(
            int(ids[row]), moments[row].astype("datetime64[s]").item(), float(amount[row]), float(score[row]),
            float(expected[row]), str(ledger.version[rows][row]),
        )
        for row in chosen
    )  # fmt: skip
    total = float(expected[expected >= 0].sum())
    return Queue(
        day, reviews, int((expected >= 0).sum()), sum(r.expected_loss for r in reviews) / total if total else 0.0
    )


def _first_and_last(ledger: Ledger) -> str:
    scored = np.flatnonzero(np.isfinite(ledger.score))
    if not len(scored):
        return "none"
    days = ledger.day_of_rows(slice(0, len(ledger.score)))[scored[[0, -1]]]
    return " to ".join(str(date.fromordinal(EPOCH.toordinal() + int(day))) for day in days)


def as_record(queue: Queue) -> dict[str, Any]:
    """All of it, for another program."""
    reviews = [{**asdict(review), "at": review.at.isoformat()} for review in queue.reviews]
    return {"day": str(queue.day), "waiting": queue.waiting, "covered": queue.covered, "reviews": reviews}


def as_table(queue: Queue) -> Group:
    """As analysts work through it."""
    table = Table("", "transaction", "at", "amount", "score", "expected loss", "version")
    for number in (1, 3, 4, 5):
        table.columns[number].justify = "right"
    for rank, review in enumerate(queue.reviews, start=1):
        table.add_row(
            str(rank), str(review.transaction_id), f"{review.at:%H:%M}", f"{review.amount:,.2f}", f"{review.score:.3f}",
            f"{review.expected_loss:,.2f}", review.model_version,
        )  # fmt: skip
    return Group(
        table,
        f"{len(queue.reviews)} of {queue.waiting:,} payments of {queue.day} that wait: {queue.covered:.0%} of the loss that is expected",
    )
