"""Say what is live, as a fold over the recorded decisions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from training.vocabulary import Decision

MODEL = "recommender"  # its name in the registry and in the decisions


@dataclass(frozen=True, slots=True)
class Aliases:
    """The registry's three names and the version behind each; None where a name is not given."""

    champion: str | None = None
    challenger: str | None = None
    previous: str | None = None


def aliases_after(decisions: Iterable[Decision], model: str = MODEL) -> Aliases:
    """Where a model's aliases belong once these decisions are carried out; those about other models do not count.

    A promotion puts a version on top, a rollback takes off what lies above its target. A canary, or a version in the shadow, is
    the challenger until a promotion, a rollback or its own refusal ends it. What was rolled back, on canary or live, is never
    `previous` again, so a second rollback goes further back instead of returning to the bad release. Because the record comes
    first and the aliases follow from it, a process that dies between the two is repaired by carrying out again.
    """
    live: list[str] = []
    challenger: str | None = None
    for decision in decisions:
        if decision.model != model or not decision.model_version:
            continue
        if decision.kind == "refusal" and decision.model_version == challenger:
            challenger = None
        if decision.kind not in ("canary", "shadow", "promotion", "rollback"):
            continue
        if decision.kind == "promotion":
            live = [v for v in live if v != decision.model_version] + [decision.model_version]
        if decision.kind == "rollback":
            live = _down_to(live, decision.model_version, ended=challenger)
        challenger = decision.model_version if decision.kind in ("canary", "shadow") else None
    champion = live[-1] if live else None
    return Aliases(
        champion=champion,
        challenger=None if challenger == champion else challenger,
        previous=live[-2] if len(live) > 1 else None,
    )


def _down_to(live: list[str], target: str, *, ended: str | None) -> list[str]:
    """What stays live; the canary that ended may be a version that was live before."""
    kept = live[: live.index(target) + 1] if target in live else [target]
    return [version for version in kept if version == target or version != ended]
