"""Say what the watch has ordered about learning, as a fold over the recorded decisions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from training.fraud.artefact import FRAUD
from training.fraud.day_split import SPAN_DAYS
from training.vocabulary import Decision, Evidence

QUARANTINED_DAYS = SPAN_DAYS
"""A label that was doubted may be learned until its payment is too old to be learned from."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Whether nothing may be fitted, and whose labels, and which days' payments, nobody may learn from."""

    training_frozen: bool = False
    quarantined: frozenset[str] = frozenset()
    quarantined_days: frozenset[date] = frozenset()
    """Of payments that were delivered wrong."""


def orders_after(decisions: Iterable[Decision], as_of: datetime) -> Orders:
    """What the decisions up to a moment order; those about another model, and those about one version, order nothing.

    An order is a decision of kind `watch` or `human_approval` about `fraud`, with the evidence `training_frozen`, `quarantined`
    (sources) and `quarantined_days` (in ISO), each with spaces between. The newest says whether training is frozen; one that does
    not say freezes it, for what the watch could not tell is no permission. A source or a day stays in quarantine for
    QUARANTINED_DAYS after it was last named.
    """
    orders = sorted((d for d in decisions if _is_order(d) and _at(d) <= as_of), key=_at)
    fresh = [order for order in orders if _at(order) > as_of - timedelta(days=QUARANTINED_DAYS)]
    sources, days = (
        {word for order in fresh for word in str(_said(order, what) or "").split()}
        for what in ("quarantined", "quarantined_days")
    )
    frozen = bool(orders) and _said(orders[-1], "training_frozen") is not False
    return Orders(frozen, frozenset(sources), frozenset(map(date.fromisoformat, days)))


def days_quarantined(decisions: Iterable[Decision]) -> frozenset[date]:
    """Every day that was ever named as delivered wrong: it is no example of what is usual, however long ago it was."""
    named = (str(_said(order, "quarantined_days") or "").split() for order in decisions if _is_order(order))
    return frozenset(date.fromisoformat(day) for days in named for day in days)


def _is_order(decision: Decision) -> bool:
    return decision.subject == FRAUD.model and decision.kind in ("watch", "human_approval")


def _at(decision: Decision) -> datetime:
    return datetime.fromisoformat(decision.at)


def _said(decision: Decision, name: str) -> object:
    found: dict[str, Evidence] = {item.name: item for item in decision.evidence}
    return found[name].value if name in found else None
