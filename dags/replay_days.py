"""Live days of the simulated card issuer through the real DAG, with an incident from the next day on if one is ordered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from dags.in_process import InProcessAirflow
from dags.logical_day import next_day
from dags.replay import alone_in
from ingest.errors import ReplayError
from monitoring.fraud.beginning import begin
from monitoring.fraud.issuer import order_incident
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.orders import orders_after
from training.promotion import aliases_after
from training.settings import Settings, store_settings
from training.workspace import Workspace


def replay_days(
    settings: Settings,
    days: int,
    *,
    incident: tuple[str, float] | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Run `watch_fraud` for so many midnights after the last; returns what was named, done and live on each.

    `incident` is a cause and its strength. Raises ReplayError when a task failed; what was done is kept, and the same call goes on
    where it stopped.
    """
    cards = CardDays(Workspace(settings))
    with alone_in(settings.home):
        store_settings(settings)
        begin(cards, said)
        if incident is not None:
            order_incident(cards, *incident, within=days)
        airflow, records = InProcessAirflow(settings.home), []
        for _ in range(days):
            as_of = next_day(cards)
            said(f"{as_of:%Y-%m-%d}: watch_fraud")
            if not airflow.run("watch_fraud", as_of):
                raise ReplayError(_failure(cards, as_of))
            records.append(_record(cards, as_of))
    return records


def _record(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    settled, watched = (cards.parts.require(as_of, step) for step in ("settle", "watch"))
    until = [d for d in cards.ws.decisions.read(FRAUD.model) if d.at <= as_of.isoformat()]
    return {
        **{name: settled[name] for name in ("as_of", "cause", "outcome", "actor")},
        "why": watched["why"],
        "training_frozen": orders_after(until, as_of).training_frozen,
        "champion": aliases_after(until, FRAUD.model).champion,
        "decisions": [f"{d.kind}: {d.reason}" for d in until if d.at == as_of.isoformat() and d.kind != "watch"],
    }


def _failure(cards: CardDays, as_of: datetime) -> str:
    failed = cards.parts.take_failure(as_of)
    return (
        f"watch_fraud, task {failed['task']}, {as_of:%Y-%m-%d}: {failed['error']} What was finished is kept in {cards.home}; "
        "run the same command again to go on."
    )
