"""All rules, and the judgement of a plan by them."""

from __future__ import annotations

from typing import Final

from infra.plan import Plan
from infra.policies import access, encryption, exposure, ownership, resilience, spot, watching
from infra.policies.rule import Rule, Violation

_THEMES = (encryption, exposure, access, resilience, spot, watching, ownership)

#: In the order of their files; a rule that stands in one of them is one of these.
RULES: Final = tuple(rule for theme in _THEMES for rule in vars(theme).values() if isinstance(rule, Rule))


def check(plan: Plan) -> list[Violation]:
    """Judge a plan by all rules; nothing is found in a plan that may be applied.

    Raises:
        PlanError: The plan does not say which environment it is of.
    """
    return [violation for rule in RULES for violation in rule.check(plan)]
