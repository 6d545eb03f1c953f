"""Open and close a canary: the record first, then the challenger's alias; the ramp itself is serving's."""

from __future__ import annotations

from datetime import datetime

from ingest.errors import RegistryError
from training.carry_out import record_and_carry_out
from training.promotion import MODEL, aliases_after
from training.vocabulary import Decision, Evidence
from training.workspace import Workspace


def open_canary(ws: Workspace, at: datetime, version: str, *, reason: str, actor: str) -> Decision:
    """Let a version that passed its gates answer a growing share of the customers.

    Raises RegistryError when its gates did not let it through, it is live already, or there is no champion to compare it with.
    """
    decisions = ws.decisions.read(MODEL)
    champion = aliases_after(decisions).champion
    if champion is None:
        raise RegistryError("Nothing is live yet, so that a canary could not be compared with anything; promote first.")
    if version == champion:
        raise RegistryError(f"Version {version} is live already; `mlops status` lists the others.")
    passed = [d.model_version for d in decisions if d.kind in ("promotion", "canary")]
    if version not in passed:
        raise RegistryError(
            f"Version {version} was never let through by the gates. Versions that were: {', '.join(filter(None, passed))}."
        )
    decision = Decision(
        at=at.isoformat(),
        actor=actor,
        kind="canary",
        subject=f"{MODEL} version {version}",
        action="canary",
        reason=reason,
        model_version=version,
        previous_version=champion,
    )
    return record_and_carry_out(ws, decision)


def promote_canary(
    ws: Workspace, at: datetime, version: str, *, reason: str, evidence: tuple[Evidence, ...]
) -> Decision:
    """The canary has passed its last stage: it is the champion, and the one before stays warm as previous."""
    decision = Decision(
        at=at.isoformat(),
        actor="policy",
        kind="promotion",
        subject=f"{MODEL} version {version}",
        action="promote",
        reason=reason,
        evidence=evidence,
        model_version=version,
        previous_version=aliases_after(ws.decisions.read()).champion,
    )
    return record_and_carry_out(ws, decision)
