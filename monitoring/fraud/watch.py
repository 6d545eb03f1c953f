"""Look at the fraud model on a day: evidence beside that of the clean days before, the diagnosis, and what is done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from monitoring.fraud.diagnosis import Diagnosis, diagnose
from monitoring.fraud.evidence import evidence_on
from monitoring.fraud.figures import Figures, Standing, standing
from monitoring.fraud.ledger import Ledger
from monitoring.fraud.policy import Costs, Response, respond
from monitoring.fraud.quality import AGES, seen

GAP_DAYS = 28
"""What is usual is read off days that ended four weeks ago: an incident is found by then, or would look usual."""
WINDOW_DAYS = 7
STRIDE = 2
"""Every other day is enough to know what is usual: windows of neighbours share six days of seven."""

Past = Mapping[int, Figures]
"""The evidence of days before, by day."""


@dataclass(frozen=True)
class Watched:
    """What was seen on a day and what came of it."""

    day: int
    figures: Figures
    standings: Mapping[str, Standing]
    diagnosis: Diagnosis
    response: Response
    event: str | None
    days_of_history: int


def event_near(ledger: Ledger, as_of: int) -> str | None:
    """The festival or season in the week that ends on a day, if the calendar knows one."""
    found = (ledger.event_on(day) for day in range(as_of - WINDOW_DAYS, as_of + 1))
    return next((event for event in found if event), None)


def past_evidence(ledger: Ledger, days: Iterable[int]) -> dict[int, Figures]:
    """The evidence of each of these days, as it could be had then."""
    return {day: evidence_on(ledger, day) for day in days}


def watch(ledger: Ledger, as_of: int, past: Past, costs: Costs | None = None) -> Watched:
    """Diagnose a day from what had arrived by its midnight; `past` holds the evidence of earlier, clean days."""
    usable = [figures for day, figures in past.items() if day <= as_of - GAP_DAYS and event_near(ledger, day) is None]
    figures = evidence_on(ledger, as_of)
    standings = {
        name: standing(figure, [before[name].value for before in usable if name in before])
        for name, figure in figures.items()
    }
    event = event_near(ledger, as_of)
    diagnosis = diagnose(standings, event)
    return Watched(
        as_of,
        figures,
        standings,
        diagnosis,
        respond(diagnosis, standings, loss_a_day(ledger, as_of), costs),
        event,
        len(usable),
    )


def loss_a_day(ledger: Ledger, as_of: int) -> float:
    """What fraud that was neither blocked nor looked at by an analyst cost a day, by the labels there are; NaN without any."""
    first, last = AGES["middle"]
    rows = seen(ledger, as_of, (first, last))
    if not rows.looked_at.any():
        return math.nan
    missed = rows.fraud & rows.paid & ~rows.reviewed
    return float(rows.amount[missed].sum()) / (last - first)
