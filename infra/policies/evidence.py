"""What a plan proves of an argument. What it does not prove is found fault with: nothing passes in silence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from infra.plan import UNKNOWN, Plan, Resource
from infra.policies.rule import Finding
from infra.policies.wiring import companions, is_written

CompanionJudge = Callable[[Resource], Iterator[Finding]]
#: Where something that must be somewhere is nowhere.
PLAN = "the plan"
#: The provider keeps some booleans as text.
YES = (True, "true")


def wants(resource: Resource, path: str, *allowed: Any) -> Iterator[Finding]:
    """Find fault unless the value is one of those allowed."""
    value = resource.get(path)
    if value is UNKNOWN:
        yield unknown(resource, path)
    elif value not in allowed:
        yield resource.address, f"{path} is {shown(value)}"


def wants_at_least(resource: Resource, path: str, least: int) -> Iterator[Finding]:
    """Find fault unless the value is that large."""
    value = resource.get(path)
    if value is UNKNOWN:
        yield unknown(resource, path)
    elif value is None or value < least:
        yield resource.address, f"{path} is {shown(value)}, and must be {least} or more"


def wants_set(plan: Plan, resource: Resource, path: str) -> Iterator[Finding]:
    """Find fault unless we set the value; which one it is the apply may tell, and no message does: it may be secret."""
    if not is_set(plan, resource, path):
        yield resource.address, f"{path} is not set"


def is_set(plan: Plan, resource: Resource, path: str) -> bool:
    """Whether we gave a value. One that AWS would choose is not known before an apply either, but nobody gave it."""
    value = resource.get(path)
    return is_written(plan, resource, path) if value is UNKNOWN else value not in (None, "", [], {})


def listed(resource: Resource, path: str) -> list[Any]:
    """Items or blocks of a list; none where it is not set or not known, so a rule that needs some finds them missing."""
    value = resource.get(path)
    return value if isinstance(value, list) else []


def wants_companion(plan: Plan, kind: str, *, of: str, argument: str, judge: CompanionJudge) -> Iterator[Finding]:
    """Find fault where a resource has no companion of a kind, or has one that does not stand up to the judge."""
    for target in plan.of(of):
        found = companions(plan, target, kind=kind, argument=argument)
        if not found:
            yield target.address, f"no {kind} names it"
        for companion in found:
            yield from judge(companion)


def unknown(resource: Resource, path: str) -> Finding:
    """Say that a value cannot be judged, which is no better than a wrong one."""
    return resource.address, f"{path} cannot be judged: it is not known before the apply; write it so that it is"


def shown(value: Any) -> str:
    """A value as Terraform writes it."""
    return "not set" if value is None else json.dumps(value, default=repr)
