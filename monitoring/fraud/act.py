"""Carry out what the watch of a day settled on, where that is more than an order: a rollback, a refit or a recalibration."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from training.carry_out import carry_out_or_owe
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.daily import fitted_on
from training.promotion import aliases_after
from training.rollback import roll_back

REFIT_DAYS = 7
"""A candidate is fitted once a week at most: the next would learn from nearly the same labels."""

#: What each action needs done: the task of the DAG by its name. The others are orders to owners and to training.
TASKS = {"roll_back": "go_back", "retrain_in_shadow": "fit", "recalibrate": "calibrate"}

#: Causes for which going back means another version. Features that are served wrong are the service's, whichever version reads them.
VERSION_AT_FAULT = ("bad_release", "poisoned_labels", "two_at_once")


def tasks_for(cards: CardDays, as_of: datetime) -> list[str]:
    """The tasks that a day calls for: its decision's, and the judging of a candidate whose time in the shadow is over.

    A day judges one candidate, so a recalibration waits for the next.
    """
    settled = cards.parts.require(as_of, "settle")
    due = ["judge"] if fitted_on(cards, as_of) != as_of else []
    match TASKS.get(settled["outcome"]):
        case "go_back" if settled["cause"] in VERSION_AT_FAULT:
            return [*due, "go_back"]
        case "fit" if not _fitted_lately(cards, as_of):
            return [*due, "fit"]
        case "calibrate" if not due and not _fitted_lately(cards, as_of):
            return ["calibrate"]
        case _:
            return due


def go_back(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Put the version before back, once; nothing moves where there is none, which the record then says."""

    def work() -> dict[str, Any]:
        settled = cards.parts.require(as_of, "settle")
        done = [d for d in cards.ws.decisions.read(FRAUD.model) if d.kind == "rollback" and d.at == as_of.isoformat()]
        # A run that died after the record must not roll back twice: carry out what is written.
        if not done and aliases_after(cards.ws.decisions.read(), FRAUD.model).previous:
            reason = f"{settled['cause']}: {cards.parts.require(as_of, 'watch')['why']}"
            done = [roll_back(cards.ws, as_of, to=None, reason=reason, actor=settled["actor"], model=FRAUD.model)]
        carry_out_or_owe(cards.ws)
        champion = aliases_after(cards.ws.decisions.read(), FRAUD.model).champion
        return {"as_of": f"{as_of:%Y-%m-%d}", "decisions": [d.decision_id for d in done], "champion": champion}

    return cards.parts.once(as_of, "rollback", work)


def _fitted_lately(cards: CardDays, as_of: datetime) -> bool:
    fitted = [day for day in cards.parts.done("fit") if day < as_of]
    return bool(fitted) and fitted[-1] > as_of - timedelta(days=REFIT_DAYS)
