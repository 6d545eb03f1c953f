"""Which resource an argument leads to: by its value or, before there is one, by the expression that will give it.

Limits: a plan's configuration holds neither locals nor what is in dynamic blocks, and outputs of modules are not followed
inwards. Whoever asks gets no for an answer then, and refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.plan import UNKNOWN, Plan, Resource

#: What an argument of another resource calls a resource by.
IDENTITIES = ("id", "arn", "name", "bucket")

_MODULE = re.compile(r"module\.(?P<name>[\w-]+)(?:\[[^\]]*\])?\.")
_KEY = re.compile(r"\[[^\]]*\]$")


@dataclass(frozen=True, slots=True)
class _Scope:
    """A module where it is called: the prefix of addresses in it, its configuration, its inputs, and what it is repeated for."""

    prefix: str
    module: Mapping[str, Any]
    inputs: Mapping[str, Any]
    loop: Any


def companions(plan: Plan, target: Resource, *, kind: str, argument: str) -> list[Resource]:
    """Resources of a kind that say by an argument that they belong to the target."""
    return [resource for resource in plan.of(kind) if leads_to(plan, resource, argument, target)]


def leads_to(plan: Plan, resource: Resource, path: str, target: Resource) -> bool:
    """Whether an argument names the target."""
    value = resource.get(path)
    if value is not UNKNOWN:
        return value is not None and value in [target.get(identity) for identity in IDENTITIES]
    found = origins(plan, resource, path)
    bare, key = _KEY.sub("", target.address), _KEY.findall(target.address)
    by_key = any(origin.startswith(f"{bare}[") for origin in found)
    # Without a key in the expression it is each.key or each.value: both have the same.
    return target.address in found or (bare in found and not by_key and key == _KEY.findall(resource.address))


def is_written(plan: Plan, resource: Resource, path: str) -> bool:
    """Whether a value that is not known yet comes from us; otherwise AWS chooses it, and nobody has set it.

    Dynamic blocks leave no expressions, so what is in one counts as written.
    """
    block, _, below = path.partition(".")
    expressions = _declaration(_scopes(plan, resource)[-1], resource).get("expressions", {block: None})
    if below and block not in expressions and resource.get(block) is not UNKNOWN:
        return True
    return any(not origin.startswith("var.") for origin in origins(plan, resource, path))


def origins(plan: Plan, resource: Resource, path: str) -> frozenset[str]:
    """Addresses that an argument is written in terms of, `module.lake.aws_s3_bucket.this`, and inputs of the root, `var.region`.

    Inputs of modules are followed to whoever gives them. Numbers in the path are not heeded: all blocks of a name count.
    """
    scopes = _scopes(plan, resource)
    declaration = _declaration(scopes[-1], resource)
    names = [name for name in path.split(".") if not name.isdigit()]
    written = _references(declaration.get("expressions", {}), names)
    return frozenset(_follow(written, declaration.get("for_each_expression"), scopes))


def _follow(references: Iterable[str], loop: Any, scopes: Sequence[_Scope]) -> Iterator[str]:
    *outside, scope = scopes
    for reference in references:
        if reference.startswith("each."):
            yield from _follow(_references(loop), None, scopes)
        elif reference.startswith("var.") and outside:
            given = scope.inputs.get(reference.split(".")[1])
            yield from _follow(_references(given), scope.loop, outside)
        else:
            yield scope.prefix + reference


def _references(expression: Any, names: Sequence[str] = ()) -> Iterator[str]:
    if isinstance(expression, list):
        for block in expression:
            yield from _references(block, names)
    elif isinstance(expression, Mapping) and names:
        yield from _references(expression.get(names[0]), names[1:])
    elif isinstance(expression, Mapping):
        yield from expression.get("references", ())


def _scopes(plan: Plan, resource: Resource) -> list[_Scope]:
    """The modules that a resource stands in, from the root inwards."""
    scopes = [_Scope("", plan.document.get("configuration", {}).get("root_module", {}), {}, None)]
    rest = resource.address
    while step := _MODULE.match(rest):
        call = scopes[-1].module.get("module_calls", {}).get(step["name"], {})
        prefix = scopes[-1].prefix + step[0]
        scopes.append(
            _Scope(prefix, call.get("module", {}), call.get("expressions", {}), call.get("for_each_expression"))
        )
        rest = rest[step.end() :]
    return scopes


def _declaration(scope: _Scope, resource: Resource) -> Mapping[str, Any]:
    address = _KEY.sub("", resource.address.removeprefix(scope.prefix))
    return next((block for block in scope.module.get("resources", ()) if block["address"] == address), {})
