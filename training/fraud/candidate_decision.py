"""Say what is decided about a day's candidate, as the record that the aliases follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.gates import decide
from training.promotion import aliases_after
from training.vocabulary import Decision, Verdict


def candidate_decision(cards: CardDays, as_of: datetime) -> Decision:
    """Promotion, refusal with the gates that refused, `hold` where a person decides, or training held with the reason."""
    judged = cards.parts.require(as_of, "judge")
    fit = cards.parts.require(datetime.fromisoformat(judged["fitted"]), "fit")
    candidate = fit["candidate"]
    if candidate is None:
        return _held(as_of, fit["held"])
    decision = decide(
        Verdict.from_dict(judged["verdict"]).gates,
        at=as_of.isoformat(),
        version=candidate["version"],
        champion=judged["champion"],
        snapshot_id=candidate["snapshot_id"],
        run_id=candidate["run_id"],
    )
    return decision if decision.kind == "refusal" else unless_replaced(cards, decision)


def shadow_decision(as_of: datetime, fit: Mapping[str, Any], champion: str | None) -> Decision:
    """That a candidate scores in the shadow from now on, or that training was held, with the reason."""
    candidate = fit["candidate"]
    if candidate is None:
        return _held(as_of, fit["held"])
    return Decision(
        at=as_of.isoformat(),
        actor="policy",
        kind="shadow",
        subject=f"{FRAUD.model} version {candidate['version']}",
        action="shadow",
        reason=f"learned from payments up to {fit['learned_days'][-1]}; judged on those from {fit['judged_days'][0]} on",
        model_version=candidate["version"],
        previous_version=champion,
        snapshot_id=candidate["snapshot_id"],
        run_id=candidate["run_id"],
    )


def _held(as_of: datetime, why: str) -> Decision:
    return Decision(
        at=as_of.isoformat(), actor="policy", kind="training_held", subject=FRAUD.model, action="hold", reason=why
    )


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
