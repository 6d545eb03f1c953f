"""Say what is decided about a day's candidate, as the record that the aliases follow."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.gates import decide
from training.promotion import aliases_after
from training.vocabulary import Decision, Verdict


def candidate_decision(cards: CardDays, as_of: datetime) -> Decision:
    """Promotion, refusal with the gates that refused, `hold` where a person decides, or training held with the reason."""
    fit, judged = (cards.parts.require(as_of, step) for step in ("fit", "judge"))
    candidate = fit["candidate"]
    if candidate is None:
        return Decision(
            at=as_of.isoformat(),
            actor="policy",
            kind="training_held",
            subject=FRAUD.model,
            action="hold",
            reason=fit["held"],
        )
    decision = decide(
        Verdict.from_dict(judged["verdict"]).gates,
        at=as_of.isoformat(),
        version=candidate["version"],
        champion=judged["champion"],
        snapshot_id=candidate["snapshot_id"],
        run_id=candidate["run_id"],
    )
    return decision if decision.kind == "refusal" else unless_replaced(cards, decision)


def unless_replaced(cards: CardDays, decision: Decision) -> Decision:
    """The decision, or a refusal when the version that the candidate was judged against is live no more.

    Decisions about the candidate itself do not count: a run that died after its record decides the same again.
    """
    others = (d for d in cards.ws.decisions.read(FRAUD.model) if d.subject != decision.subject)
    live = aliases_after(others, FRAUD.model).champion
    if live == decision.previous_version:
        return decision
    reason = f"judged against {_named(decision.previous_version)}, but {_named(live)} is live since"
    return replace(decision, kind="refusal", action="refuse", reason=reason)


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no champion"
