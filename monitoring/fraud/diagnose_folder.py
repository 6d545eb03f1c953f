"""Diagnose a stranger's tables with the engine of the drills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

from ingest.errors import SourceError
from monitoring.fraud.batches import REFERENCE_DAYS
from monitoring.fraud.figures import Figures
from monitoring.fraud.folder import Read, read_folder
from monitoring.fraud.ledger import EPOCH, Ledger
from monitoring.fraud.told import day_of
from monitoring.fraud.watch import GAP_DAYS, STRIDE, Watched, past_evidence, watch

MOST_DAYS = 120


def diagnose_folder(folder: Path, as_of: date, *, said: Callable[[str], None] = lambda _: None) -> tuple[Watched, Read]:
    """What the tables of a folder show on a day, and what the folder holds.

    Raises SourceError when tables are missing that nothing can be said without, or when there is no payment before the day.
    """
    read = read_folder(folder)
    ledger, day = Ledger.of(read.tables), (as_of - EPOCH).days
    if not ledger.first_day < day <= ledger.last_day + 28:
        raise SourceError(
            f"{folder} holds transactions from {day_of(ledger.first_day)} to {day_of(ledger.last_day - 1)}; --as-of {as_of} "
            "must lie after the first of them and within four weeks of the last."
        )
    first = max(ledger.first_day + REFERENCE_DAYS[0], day - GAP_DAYS - MOST_DAYS)
    days = range(first, day - GAP_DAYS + 1, STRIDE)
    past: dict[int, Figures] = {}
    for number, past_day in enumerate(days, start=1):
        said(f"what was usual: {number} of {len(days)} days")
        past |= past_evidence(ledger, [past_day])
    return watch(ledger, day, past), replace(read, remarks=(*read.remarks, *_about_labels(ledger)))


def _about_labels(ledger: Ledger) -> list[str]:
    found = []
    if ledger.book.unknown:
        found.append(f"{ledger.book.unknown} labels or audits are of transactions that nobody knows, and were left out")
    if ledger.book.contradictory:
        found.append(
            f"{ledger.book.contradictory} transactions are contradicted by their own source: from then on it says nothing of them"
        )
    return found
