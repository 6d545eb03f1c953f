"""Say which days a candidate learns from, and on which other days it is judged."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

from training.fraud.examples import MATURE_DAYS
from training.fraud.gates import FraudGatePolicy

LEARNED_DAYS = 56
"""Eight weeks: weekdays count alike, and what customers do changes little in them."""
JUDGED_DAYS = FraudGatePolicy().min_days
"""As few as the gates allow: each day more makes what is learned a day older."""
SHADOW_DAYS = JUDGED_DAYS + MATURE_DAYS
"""A candidate in the shadow is judged on the days after it was fitted, once their labels have matured."""
SPAN_DAYS = LEARNED_DAYS + MATURE_DAYS + SHADOW_DAYS
"""A payment of so many days ago is the oldest that a candidate of today's judging learned from."""


class DaySplit(NamedTuple):
    """Days of payments, in order; none is in both."""

    learned: tuple[date, ...]
    judged: tuple[date, ...]


def split_to_fit(as_of: datetime) -> DaySplit:
    """Eight weeks to learn from, and all newer days whose labels have matured to be judged on."""
    before = days_before(as_of, LEARNED_DAYS + JUDGED_DAYS + MATURE_DAYS)
    return DaySplit(before[:LEARNED_DAYS], before[LEARNED_DAYS : LEARNED_DAYS + JUDGED_DAYS])


def split_to_shadow(as_of: datetime) -> DaySplit:
    """The newest eight matured weeks to learn from, because something has changed, and the days to come to be judged on."""
    learned = days_before(as_of, MATURE_DAYS + LEARNED_DAYS)[:LEARNED_DAYS]
    return DaySplit(learned, tuple(as_of.date() + timedelta(days=ahead) for ahead in range(JUDGED_DAYS)))


def split_to_calibrate(as_of: datetime) -> DaySplit:
    """Every other of the newest matured days to calibrate on, and those between to be judged on.

    A calibration is refitted because there is more fraud than before. Were it judged on older or newer days than it learned
    from, it would be judged on another share of fraud; and over four weeks each weekday is in both parts as often. Which days
    are learned does not depend on `as_of`, so that whoever is calibrated anew learned from none that it is judged on.
    """
    newest = days_before(as_of, MATURE_DAYS + 2 * JUDGED_DAYS)[: 2 * JUDGED_DAYS]
    learned, judged = (tuple(day for day in newest if day.toordinal() % 2 == part) for part in (0, 1))
    return DaySplit(learned, judged)


def days_before(as_of: datetime, days: int) -> tuple[date, ...]:
    """So many days before the midnight `as_of`, in order."""
    return tuple(as_of.date() - timedelta(days=age) for age in range(days, 0, -1))
