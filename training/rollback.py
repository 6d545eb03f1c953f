"""Roll back: record the decision, then let the aliases follow; one path for the policy, a person and the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ingest.errors import RegistryError
from training.carry_out import carry_out
from training.mlflow_registry import MODEL, MlflowRegistry
from training.vocabulary import Decision, Evidence
from training.workspace import Workspace


def roll_back(
    ws: Workspace, as_of: datetime, *, to: str | None, reason: str, actor: str, evidence: tuple[Evidence, ...] = ()
) -> Decision:
    """Make `to` (by default the previous version) live again.

    Raises RegistryError when there is nothing to go back to, or `to` is not a registered version.
    """
    registry = MlflowRegistry(ws.settings)
    live = registry.aliases()
    target = to or live.previous
    if target is None:
        raise RegistryError(
            "There is no previous version to go back to. `mlops status` lists the versions; name one with --to."
        )
    if target == live.champion:
        raise RegistryError(f"Version {target} is live already; name another one with --to.")
    decision = Decision(
        at=as_of.isoformat(),
        actor=actor,
        kind="rollback",
        subject=f"{MODEL} version {live.champion}",
        action="roll_back",
        reason=reason,
        evidence=evidence,
        model_version=registry.version(target).version,
        previous_version=live.champion,
    )
    ws.decisions.record(decision)
    carry_out(ws)
    return decision


def roll_back_as_requested(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Carry out the rollback that this week's watch settled on, once."""

    def work() -> dict[str, Any]:
        watched, settled = ws.read_part(as_of, "watch") or {}, ws.read_part(as_of, "settle") or {}
        action, answer = watched["action"], settled["answer"]
        done = [d for d in ws.decisions.read() if d.kind == "rollback" and d.at == as_of.isoformat()]
        # A run that died after the record must not roll back twice: carry out what is written.
        if done:
            carry_out(ws)
            decision = done[-1]
        else:
            evidence = tuple(Evidence.from_dict(e) for e in action["evidence"])
            actor = answer["by"] if answer else "policy"
            decision = roll_back(
                ws, as_of, to=None, reason=f"{action['cause']}: {action['reason']}", actor=actor, evidence=evidence
            )
        return {"as_of": f"{as_of:%Y-%m-%d}", "decisions": [decision.decision_id], "champion": decision.model_version}

    return ws.once(as_of, "rollback", work)
