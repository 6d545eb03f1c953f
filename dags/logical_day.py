"""Say which day a run about the fraud model is about, and build what its tasks work with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from dags.logical_week import workspace
from training.fraud.card_days import CardDays


def cards() -> CardDays:
    """The fraud model's part of the workspace that `MLOPS_HOME` names."""
    return CardDays(workspace())


def day_of(context: Mapping[str, Any]) -> datetime:
    """The midnight a run is about: what it was triggered with, or the one after the last that was done.

    The simulated issuer's days need not be those of the calendar: each run of the clock is its next day.
    """
    conf = context["dag_run"].conf or {}
    if "as_of" in conf:
        return datetime.strptime(conf["as_of"], "%Y-%m-%d")
    return next_day(cards())


def next_day(days: CardDays) -> datetime:
    """The first midnight whose night is not done, after the history that is lived before there is anything to watch."""
    from monitoring.fraud.beginning import history_ends  # loads models; the scheduler reads this file every half minute

    nights = days.parts.done("night")
    return (nights[-1] if nights else history_ends()) + timedelta(days=1)


def note_failure(context: Mapping[str, Any]) -> None:
    """Keep a failed task's error with its day, where `mlops fraud live` finds it."""
    cards().parts.note_failure(day_of(context), context["task_instance"].task_id, context["exception"])


DEFAULTS = {"on_failure_callback": note_failure}
