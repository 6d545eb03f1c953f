"""Rehearse an incident of the fraud model: live it day by day, and see which cause is named and what is done.

Every drill of a seed goes on from the same history, and is judged by what really happened, which nothing else reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import lru_cache

import numpy as np
from sklearn.metrics import average_precision_score

from ingest.card_incidents import Incident, incident
from ingest.card_world import CardSettings
from monitoring.fraud.diagnosis import Cause
from monitoring.fraud.figures import Figures
from monitoring.fraud.ledger import EPOCH, Ledger
from monitoring.fraud.policy import RESPONSES
from monitoring.fraud.stream import FIRST_EVIDENCE, INCIDENT_DAY, LIVE_FROM, Stream, go_on, history
from monitoring.fraud.stream_tables import tables_of
from monitoring.fraud.tables import Tables
from monitoring.fraud.watch import STRIDE, WINDOW_DAYS, Watched, past_evidence, watch
from training.vocabulary import ActionName

DAYS = 21
KEPT_DAYS = 105
"""Of the history that a drill's ledger holds: what the newest version learned from, and the reference's eight weeks."""

#: Not every incident has its own name among the causes: a release that is as good as the last is no cause of anything.
TRUE_CAUSE: Mapping[str, Cause] = {"good_release": "none"}


@dataclass(frozen=True, eq=False)
class Drilled:
    """What the platform said and did on the days of a drill, of which the first is 1, and what really happened."""

    incident: Incident
    seed: int
    watched: Mapping[int, Watched]
    history: Stream
    lived: Stream
    average_precision_clean: float
    """Of the live version on the same days without the incident, by the truth; `average_precision` is with it."""
    average_precision: float

    @property
    def cause(self) -> Cause:
        return TRUE_CAUSE.get(self.incident.cause, self.incident.cause)  # type: ignore[arg-type]

    @property
    def action(self) -> ActionName:
        """What should be done."""
        return RESPONSES[self.cause].action

    @property
    def days_to_cause(self) -> int | None:
        """The day from which on the cause was named rightly to the end; None if it was not at the end."""
        return self.days_to(self.cause)

    def days_to(self, *causes: Cause) -> int | None:
        """The day from which on one of these was named, to the end."""
        wrong = [day for day, seen in self.watched.items() if seen.diagnosis.cause not in causes]
        return min((day for day in self.watched if day > max(wrong, default=0)), default=None)

    @property
    def retrained_in_doubt(self) -> bool:
        """Whether retraining was ever the answer although it was wrong to learn from these data or labels."""
        in_doubt = RESPONSES[self.cause].training_frozen
        return in_doubt and any(seen.response.action == "retrain_in_shadow" for seen in self.watched.values())


@dataclass(frozen=True, eq=False)
class History:
    """The clean days of a seed, and their evidence."""

    stream: Stream
    evidence: Mapping[int, Figures]
    zero: int
    """The day, counted since 1970, of the stream's day 0."""


@lru_cache(maxsize=2)
def history_of(seed: int, per_day: int = 4_200) -> History:
    """Live the history of a seed; half a minute, and shared by all of its drills."""
    stream = history(CardSettings(seed=seed, per_day=per_day))
    zero = (stream.world.date_of(0) - EPOCH).days
    ledger = Ledger.of(tables_of(stream, LIVE_FROM))
    days = range(zero + FIRST_EVIDENCE, zero + INCIDENT_DAY, STRIDE)
    return History(stream, past_evidence(ledger, days), zero)


def check(cause: str, strength: float) -> None:
    """Raises SettingsError for a cause or a strength that is not rehearsed, before anything is lived."""
    incident(cause, strength, seed=0, ends=datetime(2025, 1, 1))


def tables_kept(drilled: Drilled) -> Tables:
    """The tables of a drill with their whole history, as `mlops diagnose` reads them."""
    world, days = drilled.lived.world, len(drilled.lived.days) - INCIDENT_DAY
    return tables_of(drilled.lived, LIVE_FROM, _season(drilled.incident, world.date_of(INCIDENT_DAY), days))


def drill(
    cause: str,
    strength: float,
    seed: int,
    days: int = DAYS,
    *,
    on_day: Callable[[int, Watched], None] = lambda _day, _seen: None,
    only: frozenset[int] | None = None,
) -> Drilled:
    """Live an incident and watch it: every day, or `only` on some of them, counted from 1.

    Raises SettingsError for a cause or a strength that is not rehearsed.
    """
    past = history_of(seed)
    world = past.stream.world
    ends = datetime.combine(world.date_of(INCIDENT_DAY) + timedelta(days=days + 3), time())
    harm = incident(cause, strength, seed=seed, ends=ends)
    lived = go_on(past.stream, harm, days)
    ledger = Ledger.of(tables_of(lived, INCIDENT_DAY - KEPT_DAYS, _season(harm, world.date_of(INCIDENT_DAY), days)))
    watched = {}
    for day in range(1, days + 1):
        if only is None or day in only:
            watched[day] = watch(ledger, past.zero + INCIDENT_DAY + day, past.evidence)
            on_day(day, watched[day])
    return Drilled(
        harm, seed, watched, past.stream, lived,
        _average_precision(clean_branch(past.stream, days), days), _average_precision(lived, days),
    )  # fmt: skip


def clean_run(seed: int, weeks: int, *, calendar: bool = True) -> list[Watched]:
    """Watch so many weeks in which nothing happens but festivals, every day; with or without a calendar that knows them."""
    past = history_of(seed)
    lived = go_on(past.stream, Incident(), 7 * weeks)
    tables = tables_of(lived, LIVE_FROM)
    ledger = Ledger.of(tables if calendar else replace(tables, calendar=None))
    first, watched = past.zero + INCIDENT_DAY, []
    evidence = dict(past.evidence) if calendar else past_evidence(ledger, past.evidence)
    for day in range(first + 1, first + 7 * weeks + 1):
        watched.append(watch(ledger, day, evidence))
        if day % STRIDE == 0:
            evidence[day] = watched[-1].figures
    return watched


def festive_days(seed: int, days: int) -> list[bool]:
    """Whether each day of a clean run has a festival in the week it is judged by, whatever any calendar says of it."""
    world = history_of(seed).stream.world
    weeks = (range(INCIDENT_DAY + day - WINDOW_DAYS, INCIDENT_DAY + day + 1) for day in range(1, days + 1))
    return [any(world.festival_on(number) is not None for number in week) for week in weeks]


@lru_cache(maxsize=1)
def clean_branch(past: Stream, days: int) -> Stream:
    """The same days without an incident."""
    return go_on(past, Incident(), days)


def _season(harm: Incident, first: date, days: int) -> list[tuple[date, date, str]]:
    """What a calendar says of the incident, if it is one that a calendar knows."""
    return [(first, first + timedelta(days=days + 6), "season")] if harm.in_calendar else []


def _average_precision(stream: Stream, days: int) -> float:
    """Of the live version over the last days, by the truth."""
    lived = stream.days[-days:]
    fraud, scores = (np.concatenate(parts) for parts in ([d.fraud for d in lived], [d.scores[d.live] for d in lived]))
    return float(average_precision_score(fraud, scores))
