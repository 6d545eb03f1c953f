"""The IAM policies of a plan as statements, whether written as documents or as JSON, known already or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from infra.plan import UNKNOWN, Plan, Resource
from infra.policies.wiring import is_written, leads_to

#: Arguments that hold a policy, in whatever resource. A new service's policy is judged without being named here.
ARGUMENTS = ("policy", "assume_role_policy", "policy_document", "resource_policy", "access_policies")
#: Their `policy` is none of IAM's.
OTHER_POLICIES = {"aws_ecr_lifecycle_policy"}
#: Tests that hold only where the key is there and matches. `...IfExists`, `ForAllValues:` and negations hold without it.
NARROWING_TESTS = {"StringEquals", "StringLike", "StringEqualsIgnoreCase", "ArnEquals", "ArnLike", "Bool"}

#: Parts of a statement that must be known; resources need not be, for an unknown one is an ARN that the apply makes.
DECISIVE = ("effect", "not_actions", "not_resources", "principals", "condition")


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of a key of the request; `variable` may be UNKNOWN, and so may values."""

    test: str
    variable: Any
    values: tuple[Any, ...]

    def narrows(self, *keys: str) -> bool:
        """Whether it lets through only what has a certain value of one of the keys, given in lower case and with `*`."""
        return (
            self.test in NARROWING_TESTS
            and self.variable is not UNKNOWN
            and any(fnmatchcase(self.variable.lower(), key) for key in keys)
            and not {"*", "false"} & {str(value).lower() for value in self.values}
        )


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy; principals are pairs of type and identifier."""

    allows: bool
    actions: tuple[Any, ...]
    resources: tuple[Any, ...]
    principals: tuple[tuple[str, Any], ...]
    conditions: tuple[Condition, ...]
    inverted: tuple[str, ...]

    def narrowed_by(self, *keys: str) -> bool:
        """Whether one of its conditions narrows it by one of the keys."""
        return any(condition.narrows(*keys) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy where it takes effect; `statements` is None where they cannot be read from the plan."""

    holder: Resource
    argument: str
    statements: tuple[Statement, ...] | None

    @property
    def of_a_key(self) -> bool:
        return self.holder.type in {"aws_kms_key", "aws_kms_key_policy"}

    @property
    def of_trust(self) -> bool:
        return self.argument == "assume_role_policy"


def allowed(plan: Plan) -> Iterator[tuple[Policy, Statement]]:
    """Each statement that allows something, with its policy; those that cannot be read are for a rule of their own."""
    for policy in policies(plan):
        for statement in policy.statements or ():
            if statement.allows:
                yield policy, statement


def policies(plan: Plan) -> Iterator[Policy]:
    """All policies that we write; those that AWS would write are not among them."""
    for resource in plan.resources:
        if resource.type not in OTHER_POLICIES:
            inline = resource.get("inline_policy")
            blocks = [f"inline_policy.{i}.policy" for i in range(len(inline))] if isinstance(inline, list) else []
            for argument in (*ARGUMENTS, *blocks):
                yield from _policy(plan, resource, argument)


def documents(plan: Plan, resource: Resource, argument: str) -> list[Resource]:
    """The policy documents that an argument is made from."""
    return [
        document
        for document in plan.data
        if document.type == "aws_iam_policy_document" and leads_to(plan, resource, argument, document)
    ]


def _policy(plan: Plan, resource: Resource, argument: str) -> Iterator[Policy]:
    text = resource.get(argument)
    if text is UNKNOWN and is_written(plan, resource, argument):
        yield Policy(resource, argument, _of_documents(documents(plan, resource, argument)))
    elif isinstance(text, str) and "Statement" in text:
        yield Policy(resource, argument, _of_json(text))


def _of_documents(found: list[Resource]) -> tuple[Statement, ...] | None:
    if not found or not all(map(_is_readable, found)):
        return None
    return tuple(statement for document in found for statement in _of_document(document))


def _is_readable(document: Resource) -> bool:
    """Whether a document says enough: its text or, before that is known, all that decides what it allows, and whom."""
    if isinstance(document.get("json", UNKNOWN), str):
        return True
    blocks = document.get("statement", [])
    return (
        not any(document.get(source) for source in ("source_policy_documents", "override_policy_documents"))
        and blocks is not UNKNOWN
        and not any(UNKNOWN in [block.get(part) for part in DECISIVE] for block in blocks)
        and not any(UNKNOWN in _many(block.get("actions")) for block in blocks)
    )


def _of_document(document: Resource) -> tuple[Statement, ...]:
    text = document.get("json", UNKNOWN)
    if isinstance(text, str):
        return _of_json(text)
    return tuple(_of_block(block) for block in document.get("statement", ()))


def _of_block(block: Mapping[str, Any]) -> Statement:
    return Statement(
        allows=block.get("effect") != "Deny",
        actions=_many(block.get("actions")),
        resources=_many(block.get("resources")),
        principals=tuple((p["type"], name) for p in block.get("principals") or () for name in _many(p["identifiers"])),
        conditions=tuple(Condition(c["test"], c["variable"], _many(c["values"])) for c in block.get("condition") or ()),
        inverted=tuple(name for name in ("not_actions", "not_resources", "not_principals") if block.get(name)),
    )


def _of_json(text: str) -> tuple[Statement, ...]:
    statements = json.loads(text).get("Statement") or ()
    return tuple(_of_object(s) for s in ([statements] if isinstance(statements, Mapping) else statements))


def _of_object(statement: Mapping[str, Any]) -> Statement:
    principals = statement.get("Principal") or {}
    if not isinstance(principals, Mapping):
        principals = {principals: principals}  # "*" stands for everybody of every type
    return Statement(
        allows=statement.get("Effect") != "Deny",
        actions=_many(statement.get("Action")),
        resources=_many(statement.get("Resource")),
        principals=tuple((kind, name) for kind, names in principals.items() for name in _many(names)),
        conditions=tuple(
            Condition(test, variable, _many(values))
            for test, keys in (statement.get("Condition") or {}).items()
            for variable, values in keys.items()
        ),
        inverted=tuple(name for name in ("NotAction", "NotResource", "NotPrincipal") if statement.get(name)),
    )


def _many(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
