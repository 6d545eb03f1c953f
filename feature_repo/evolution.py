"""Say what a change of the feature definitions means for the models that are live: the matrix of add, rename, retype, drop.

| change | the live models do not read the feature | a live model reads it |
|---|---|---|
| add    | accepted: new rows carry it, old rows read as null | – |
| drop   | accepted | refused: the model would be served without it |
| retype | refused: stored rows keep the old type; give the new one a new name | refused, likewise |
| rename | accepted, as a drop and an add | refused, as the drop is: keep both names until no live model reads the old one |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

Schemas = Mapping[str, Mapping[str, str]]  # view -> feature -> type


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a feature's definition, whether it may be applied, and what to do instead if not."""

    kind: Literal["add", "drop", "retype", "rename"]
    feature: str
    allowed: bool
    reason: str


def changes(old: Schemas, new: Schemas, *, read_by_live_models: Collection[str]) -> list[Change]:
    """Compare two versions of the definitions; `read_by_live_models` names features without their view.

    A feature that went while exactly one of the same type came in the same view is taken for a rename.
    """
    found: list[Change] = []
    for view in sorted({*old, *new}):
        before, after = old.get(view, {}), new.get(view, {})
        gone, came = [f for f in before if f not in after], [f for f in after if f not in before]
        found += [_retyped(view, f, before[f], after[f]) for f in before if f in after and before[f] != after[f]]
        for feature in gone:
            twins = [f for f in came if after[f] == before[feature]]
            renamed_to = twins[0] if len(twins) == 1 and len(gone) == 1 else None
            found.append(_dropped(view, feature, renamed_to, feature in read_by_live_models))
            came = [f for f in came if f != renamed_to]
        found += [Change("add", f"{view}:{f}", True, "rows written before it read as null") for f in came]
    return found


def _retyped(view: str, feature: str, before: str, after: str) -> Change:
    advice = f"stored rows hold {before}, not {after}; give the new type a new name and drop the old one later"
    return Change("retype", f"{view}:{feature}", False, advice)


def _dropped(view: str, feature: str, renamed_to: str | None, is_read: bool) -> Change:
    kind: Literal["rename", "drop"] = "rename" if renamed_to else "drop"
    name = f"{view}:{feature}" + (f" -> {renamed_to}" if renamed_to else "")
    if is_read:
        return Change(kind, name, False, f"a live model reads {feature}; keep it until champion and previous do not")
    return Change(kind, name, True, "no live model reads it")
