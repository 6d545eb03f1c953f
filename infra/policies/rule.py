"""A rule over a plan: what must be so, why, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infra.plan import Plan

#: An address and what is wrong there, with the value.
Finding = tuple[str, str]
Judge = Callable[[Plan], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Violation:
    """One place in a plan where a rule is broken."""

    rule: str
    address: str
    found: str

    def __str__(self) -> str:
        return f"{self.address}: {self.found} ({self.rule})"


@dataclass(frozen=True, slots=True)
class Rule:
    """What must be so in every plan; `judge` finds where it is not, and finds nothing where there is nothing to judge."""

    id: str
    title: str
    reason: str
    remedy: str
    judge: Judge

    def check(self, plan: Plan) -> list[Violation]:
        """Name each place where the plan breaks the rule."""
        return [Violation(self.id, address, found) for address, found in self.judge(plan)]


def rule(id_: str, title: str, *, reason: str, remedy: str) -> Callable[[Judge], Rule]:
    """Make a rule of the function that judges by it."""
    return lambda judge: Rule(id_, title, reason, remedy, judge)
