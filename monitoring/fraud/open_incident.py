"""Tell of the incident that is open on a day: its page is written anew each day until nothing is out of the ordinary for a week."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from monitoring.fraud.incident_page import write_incident
from monitoring.fraud.watch_day import watched_again
from training.fraud.card_days import CardDays

CLOSED_AFTER_DAYS = 7
"""Windows are seven days long: until then what is seen may still be of the incident."""
MOST_DAYS = 28
"""Of a page: by then an incident looks usual (docs/fraud.md)."""


def opened_on(cards: CardDays, as_of: datetime) -> datetime | None:
    """The first midnight of the incident that is open on a day; None when none is."""
    unusual = [day for day in cards.parts.done("watch") if day <= as_of and _is_unusual(cards, day)]
    if not unusual or unusual[-1] <= as_of - timedelta(days=CLOSED_AFTER_DAYS):
        return None
    first = unusual[-1]
    for day in reversed(unusual):
        if first - day > timedelta(days=CLOSED_AFTER_DAYS):
            break
        first = day
    return max(first, as_of - timedelta(days=MOST_DAYS - 1))


def write_open_incident(cards: CardDays, as_of: datetime) -> Path | None:
    """Write the page of the incident that is open; None when none is."""
    first = opened_on(cards, as_of)
    if first is None:
        return None
    days, missing, remarks = watched_again(cards, first, as_of)
    path = cards.home / "incidents" / f"{first:%Y-%m-%d}.html"
    command = f"mlops diagnose {cards.tables} --as-of {as_of:%Y-%m-%d}"
    title = f"Fraud: the incident that began on {first:%Y-%m-%d}"
    write_incident(days, path, title=title, command=command, missing=missing, remarks=remarks)
    return path


def _is_unusual(cards: CardDays, day: datetime) -> bool:
    return bool(cards.parts.require(day, "watch")["cause"] != "none")
