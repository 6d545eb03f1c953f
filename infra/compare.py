"""How two environments differ, by their plans: what only one has, and which values are not the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.plan import UNKNOWN, Plan, Resource

NAME = "ENVIRONMENT"


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one resource. `left` or `right` is None where the environment has no such resource or value."""

    address: str
    path: str
    left: Any
    right: Any


def differences(left: Plan, right: Plan) -> list[Difference]:
    """All differences but names: an environment's own name within a value counts as the same word in both.

    A resource that only one has is one difference, without a path. Left out are values that AWS decides, secrets, and
    tags, which say whose an environment is.
    """
    ours, theirs = _by_address(left), _by_address(right)
    found: list[Difference] = []
    for address in sorted(ours.keys() | theirs.keys()):
        if address not in ours or address not in theirs:
            found.append(Difference(address, "", address in ours or None, address in theirs or None))
            continue
        here, there = (dict(_leaves(values)) for values in (ours[address], theirs[address]))
        found += [
            Difference(address, path, here.get(path), there.get(path))
            for path in sorted(here.keys() | there.keys())
            if here.get(path) != there.get(path) and UNKNOWN not in (here.get(path), there.get(path))
        ]
    return found


def _by_address(plan: Plan) -> dict[str, Mapping[str, Any]]:
    own = re.compile(rf"(?<![a-z/]){plan.environment}(?![a-z])")
    return {own.sub(NAME, r.address): _nameless(dict(r.values), own) for r in plan.resources if not _drawn(r)}


def _drawn(resource: Resource) -> bool:
    """A secret is another in each plan, and nobody's to see."""
    return resource.type == "aws_secretsmanager_secret_version"


def _nameless(value: Any, own: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return own.sub(NAME, value)
    if isinstance(value, Mapping):
        return {
            own.sub(NAME, name): _nameless(item, own)
            for name, item in value.items()
            if name not in {"auth_token", "tags", "tags_all"}
        }
    if isinstance(value, list):
        return [_nameless(item, own) for item in value]
    return value


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _leaves(item, f"{path}[{position}]")
    else:
        yield path, value
