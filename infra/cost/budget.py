"""Whether an environment keeps to its budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.cost.bill import Bill
from infra.cost.monthly import monthly
from infra.plan import Plan


@dataclass(frozen=True, slots=True)
class Excess:
    """A budget that what is expected exceeds. `of` is the environment, or a model in it."""

    of: str
    expected_usd: float
    limit_usd: float

    def __str__(self) -> str:
        return (
            f"{self.of} is expected to cost ${self.expected_usd:,.0f} a month, and its budget is ${self.limit_usd:,.0f}"
        )


def limits(plan: Plan) -> dict[str, float]:
    """USD a month that the environment, and each model with a limit of its own, may cost; the environment comes first."""
    budget = plan.variable("budget")
    models: Mapping[str, float] = budget.get("model_limits_usd") or {}
    return {plan.environment: budget["limit_usd"], **models}


def over_budget(plan: Plan, bill: Bill | None = None) -> list[Excess]:
    """Every limit that the expected cost exceeds; none when the environment keeps to its budget."""
    bill = bill or monthly(plan)
    expected = {model: span.expected for model, span in bill.by_model.items()} | {plan.environment: bill.total.expected}
    return [Excess(of, expected[of], limit) for of, limit in limits(plan).items() if expected.get(of, 0.0) > limit]
