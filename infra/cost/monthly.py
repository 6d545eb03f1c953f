"""What an environment costs a month, from its plan."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from infra.cost.bill import Bill, Line, merged
from infra.cost.charges import FREE, PRICED, Facts, beside
from infra.cost.errors import CostError
from infra.cost.pricing import PriceTable
from infra.cost.usage import Usage
from infra.plan import Plan


def monthly(plan: Plan, prices: PriceTable | None = None, usage: Usage | None = None, on: date | None = None) -> Bill:
    """The bill of a month: what it costs idle, as expected, and with everything at its maximum.

    `on` is a day of that month, by default the price table's: a Kubernetes version costs more once its standard support
    has ended, and no test should begin to fail overnight.

    Raises:
        CostError: The plan is of a region without prices, or holds something that is neither priced nor free.
    """
    prices = prices or PriceTable.read()
    if plan.variable("region") != prices.region:
        raise CostError(
            f"There are prices of {prices.region} only, and this plan is of {plan.variable('region')}; "
            f"write a table for it as {prices.path} is written."
        )
    facts = Facts(plan, prices, usage or Usage.read(plan.environment), on or prices.as_of)
    return Bill(plan.environment, facts.on, merged([*_lines(facts), *beside(facts)]))


def _lines(facts: Facts) -> Iterator[Line]:
    for resource in facts.plan.resources:
        if resource.type in PRICED:
            yield from PRICED[resource.type](facts, resource)
        elif resource.type not in FREE:
            raise CostError(
                f"{resource.address} is of a type that is neither priced nor free; say in infra/cost/charges.py what a "
                f"{resource.type} costs, or why nothing."
            )
