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
from training.vocabulary import Decision

REFIT_DAYS = 7
"""A candidate is fitted once a week at most: the next would learn from nearly the same labels."""

#: What each action needs done: the task of the DAG by its name. The others are orders to owners and to training.
TASKS = {"roll_back": "go_back", "retrain_in_shadow": "fit", "recalibrate": "calibrate"}

#: Causes for which going back means another version. Features that are served wrong are the service's, whichever version reads them.
VERSION_AT_FAULT = ("bad_release", "poisoned_labels", "two_at_once")


def tasks_for(cards: CardDays, as_of: datetime) -> list[str]:
    """The tasks that a day calls for: its decision's, and the judging of a candidate whose time in the shadow is over.

    A day judges one candidate, and none while another version is put back: what is due then waits for the next day.
    """
    settled = cards.parts.require(as_of, "settle")
    due = ["judge"] if fitted_on(cards, as_of) != as_of else []
    match TASKS.get(settled["outcome"]):
        case "go_back" if settled["cause"] in VERSION_AT_FAULT or settled["actor"].startswith("person:"):
            return ["go_back"]
        case "fit" if not _fitted_lately(cards, as_of):
            return [*due, "fit"]
        case "calibrate" if not due and not _fitted_lately(cards, as_of):
            return ["calibrate"]
        case _:
            return due


def go_back(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Put the version before back, once.

    A person may answer hours later: when the version in question is live no more, or there is none before it, that is recorded and
    nothing moves.
    """

    def work() -> dict[str, Any]:
        at = as_of.isoformat()
        done = [d for d in cards.ws.decisions.read(FRAUD.model) if d.kind in ("rollback", "hold") and d.at == at]
        # A run that died after the record must not roll back twice: carry out what is written.
        decision = done[-1] if done else _taken_back(cards, as_of)
        carry_out_or_owe(cards.ws)
        champion = aliases_after(cards.ws.decisions.read(), FRAUD.model).champion
        return {"as_of": f"{as_of:%Y-%m-%d}", "decisions": [decision.decision_id], "champion": champion}

    return cards.parts.once(as_of, "rollback", work)


def _taken_back(cards: CardDays, as_of: datetime) -> Decision:
    watched, settled = (cards.parts.require(as_of, step) for step in ("watch", "settle"))
    live, questioned = aliases_after(cards.ws.decisions.read(), FRAUD.model), watched["champion"]
    reason = f"{settled['cause']}: {watched['reason']}"
    if live.champion == questioned and live.previous:
        return roll_back(cards.ws, as_of, to=live.previous, reason=reason, actor=settled["actor"], model=FRAUD.model)
    nothing = (
        "there is no version before it"
        if live.champion == questioned
        else f"version {live.champion} has replaced it since"
    )
    return cards.ws.decisions.record(
        Decision(
            at=as_of.isoformat(), actor=settled["actor"], kind="hold", subject=f"{FRAUD.model} version {questioned}",
            action="hold", reason=f"{reason}; but {nothing}", model_version=live.champion,
        )
    )  # fmt: skip


def _fitted_lately(cards: CardDays, as_of: datetime) -> bool:
    """Whether there is a candidate of the days before; a fit that was held made none."""
    oldest = as_of - timedelta(days=REFIT_DAYS)
    fits = [cards.parts.require(day, "fit") for day in cards.parts.done("fit") if oldest < day < as_of]
    return any(fit["candidate"] for fit in fits)
