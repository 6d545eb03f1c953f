"""Say what was decided about a week's candidate, as the record that the aliases follow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from training.promotion import MODEL, aliases_after
from training.vocabulary import Decision, Verdict
from training.workspace import Workspace


def candidate_decision(ws: Workspace, as_of: datetime) -> Decision:
    """Promotion (or a canary first), refusal with the gates that refused, or training held with the reason."""
    fit, verdict_part, snapshot = (ws.require_part(as_of, step) for step in ("fit", "judge", "snapshot"))
    common: dict[str, Any] = {
        "at": as_of.isoformat(),
        "actor": "policy",
        "snapshot_id": snapshot["snapshot"]["id"],
        "previous_version": verdict_part["champion"],
    }
    if fit["candidate"] is None:
        return Decision(**common, kind="training_held", subject=MODEL, action="hold", reason=fit["held"])
    verdict, version = Verdict.from_dict(verdict_part["verdict"]), fit["candidate"]["version"]
    common |= {
        "subject": f"{MODEL} version {version}",
        "run_id": fit["candidate"]["run_id"],
        "evidence": verdict.evidence,
    }
    reasons = "; ".join(f"{gate.gate}: {gate.reason}" for gate in verdict.refusals)
    if verdict.outcome == "promote":
        judged_against, live = verdict_part["champion"], _champion_without(ws, common["subject"])
        if live == judged_against:
            if ws.settings.release == "canary" and live is not None:
                return Decision(
                    **common, kind="canary", action="canary", reason="every gate passed", model_version=version
                )
            return Decision(
                **common, kind="promotion", action="promote", reason="every gate passed", model_version=version
            )
        reasons = f"judged against version {judged_against}, but a rollback has put version {live} in its place"
    return Decision(**common, kind="refusal", action="refuse", reason=reasons, model_version=version)


def _champion_without(ws: Workspace, subject: str) -> str | None:
    """What is live but for decisions about `subject`: a run that died after its record decides the same again."""
    return aliases_after(d for d in ws.decisions.read() if d.subject != subject).champion
