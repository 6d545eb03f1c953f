"""Roll back: record the decision, then let the aliases follow; one path for the policy, a person and the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ingest.errors import RegistryError
from training.carry_out import carry_out_or_owe, record_and_carry_out
from training.promotion import MODEL, aliases_after
from training.vocabulary import Decision, Evidence
from training.workspace import Workspace


def roll_back(
    ws: Workspace,
    as_of: datetime,
    *,
    to: str | None,
    reason: str,
    actor: str,
    evidence: tuple[Evidence, ...] = (),
    model: str = MODEL,
) -> Decision:
    """Make version `to` of a model live again; by default the champion if a canary is under way, which this ends, or else the
    version before.

    The record is all that it takes: serving goes by it until the registry's aliases have followed, so that neither a registry
    that is down nor one that is slow keeps a bad version in front of customers.
    Raises RegistryError when there is nothing to go back to, or `to` is a version that no gate ever let through.
    """
    decisions = ws.decisions.read(model)
    live = aliases_after(decisions, model)
    # Only a canary answers customers: what scores in the shadow is no reason to keep the champion.
    canary = next(
        (d.model_version for d in decisions if d.kind == "canary" and d.model_version == live.challenger), None
    )
    target = to or (live.champion if canary else live.previous)
    if target is None:
        raise RegistryError(
            "There is no previous version to go back to. `mlops status` lists the versions; name one with --to."
        )
    if target == live.champion and not canary:
        raise RegistryError(f"Version {target} is live already; name another one with --to.")
    promoted = [d.model_version for d in decisions if d.kind == "promotion"]
    if target not in promoted:
        raise RegistryError(
            f"Version {target} was never promoted: the gates have not let it through, and going back is no way around "
            f"them. Versions that were live: {', '.join(filter(None, promoted)) or 'none'}."
        )
    left = canary if target == live.champion else live.champion
    decision = Decision(
        at=as_of.isoformat(),
        actor=actor,
        kind="rollback",
        subject=f"{model} version {left}",
        action="roll_back",
        reason=reason,
        evidence=evidence,
        model_version=target,
        previous_version=left,
    )
    return record_and_carry_out(ws, decision)


def roll_back_as_requested(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Carry out the rollback that this week's watch settled on, once.

    A person may answer days later: when the version in question is live no more, that is recorded and nothing moves.
    Nor does anything when there is no version before it, which an answer cannot know.
    """

    def work() -> dict[str, Any]:
        done = [d for d in ws.decisions.read(MODEL) if d.kind in ("rollback", "hold") and d.at == as_of.isoformat()]
        # A run that died after the record must not roll back twice: carry out what is written.
        decision = done[-1] if done else _settled_rollback(ws, as_of)
        carry_out_or_owe(ws)
        champion = aliases_after(ws.decisions.read()).champion
        return {"as_of": f"{as_of:%Y-%m-%d}", "decisions": [decision.decision_id], "champion": champion}

    return ws.once(as_of, "rollback", work)


def _settled_rollback(ws: Workspace, as_of: datetime) -> Decision:
    watched, answer = ws.require_part(as_of, "watch"), ws.require_part(as_of, "settle")["answer"]
    action, questioned = watched["action"], watched["champion"]
    actor = answer["by"] if answer else "policy"
    evidence = tuple(Evidence.from_dict(e) for e in action["evidence"])
    live = aliases_after(ws.decisions.read())
    if live.champion == questioned and live.previous:
        reason = f"{action['cause']}: {action['reason']}"
        # Named, because the default would only end a canary, and the version in question is the champion.
        return roll_back(ws, as_of, to=live.previous, reason=reason, actor=actor, evidence=evidence)
    held_because = (
        f"there is no version before {questioned} to go back to"
        if live.champion == questioned
        else f"version {live.champion} has replaced it since"
    )
    return ws.decisions.record(
        Decision(
            at=as_of.isoformat(),
            actor=actor,
            kind="hold",
            subject=f"{MODEL} version {questioned}",
            action="hold",
            reason=f"{action['cause']} was about version {questioned}; {held_because}",
            evidence=evidence,
            model_version=live.champion,
        )
    )
