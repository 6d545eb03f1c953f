"""Write what people look at in the morning: the night's drift in Evidently, and the page of the incident that is open, if one is.

An incident's page is written anew each night until nothing was out of the ordinary for a week.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from monitoring.fraud.evidently_report import windows_of, write_drift
from monitoring.fraud.incident_page import write_incident
from monitoring.fraud.watch_day import Again, watched_again
from training.fraud.card_days import CardDays

CLOSED_AFTER_DAYS = 7
"""Windows are seven days long: until then what is seen may still be of the incident."""
MOST_DAYS = 28
"""Of a page: by then an incident looks usual (docs/fraud.md)."""


def write_pages(cards: CardDays, as_of: datetime) -> dict[str, str | None]:
    """Write both from one reading of the tables; where each lies, None for an incident that is not there."""
    first, began = opened_on(cards, as_of), as_of
    if first is not None and cards.parts.require(as_of, "watch")["cause"] != "aftermath":
        began = max(first, as_of - timedelta(days=MOST_DAYS - 1))
    else:
        first = None  # its batch is delivered again: the page stays as it was when the fault could be seen
    again = watched_again(cards, began, as_of)
    today = again.days[-1]
    drift = write_drift(
        *windows_of(again.ledger, today.day), cards.ws.home, as_of=today.day, standings=today.standings,
        server=cards.ws.settings.evidently_url,
    )  # fmt: skip
    page = _write_incident(cards, first, as_of, again) if first else None
    return {"evidently": drift.path, "incident": str(page.relative_to(cards.ws.home)) if page else None}


def _write_incident(cards: CardDays, first: datetime, as_of: datetime, again: Again) -> Path:
    path = cards.home / "incidents" / f"{first:%Y-%m-%d}.html"
    write_incident(
        again.days,
        path,
        title=f"Fraud: the incident that began on {first:%Y-%m-%d}",
        command=f"mlops diagnose {cards.tables} --as-of {as_of:%Y-%m-%d}",
        missing=again.missing,
        remarks=again.remarks,
    )
    return path


def opened_on(cards: CardDays, as_of: datetime) -> datetime | None:
    """The first midnight of the incident that is open on a day; None when none is."""
    first = None
    for day in reversed([day for day in cards.parts.done("watch") if day <= as_of]):
        if (first or as_of) - day >= timedelta(days=CLOSED_AFTER_DAYS):
            break
        if _is_unusual(cards, day):
            first = day
    return first


def _is_unusual(cards: CardDays, day: datetime) -> bool:
    return bool(cards.parts.require(day, "watch")["cause"] != "none")
