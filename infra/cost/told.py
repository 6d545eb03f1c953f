"""A bill, told: as tables for a terminal, and as a plain dictionary for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table

from infra.cost.bill import Bill, Line
from infra.cost.span import NOTHING, Span
from infra.cost.spot import Comparison, Training

#: A training as long as a job of Batch may last. A new machine and its image take some ten minutes, a checkpoint one.
TRAINING: Final = Training(hours=12, restart_hours=1 / 6, checkpoint_hours=1 / 60)
CHECKPOINT_EACH_HOURS: Final = 1.0


def environments(bills: Sequence[Bill], limits: Mapping[str, float]) -> Table:
    """Environments side by side, with the budget of each; `limits` is by environment."""
    table = _table(f"USD a month, as of {bills[0].on:%B %Y}", "", *(bill.environment for bill in bills))
    for name in ("floor", "expected", "ceiling"):
        table.add_row(_MEANS[name], *(_usd(getattr(bill.total, name)) for bill in bills))
    table.add_row("budget", *(_usd(limits[bill.environment]) for bill in bills))
    table.add_row("expected of budget", *(_of_budget(bill.total.expected, limits[bill.environment]) for bill in bills))
    table.add_row("prices not read on a page", *(f"{len(bill.unread)} of {len(bill.prices)}" for bill in bills))
    return table


def biggest(bill: Bill, count: int = 12) -> Table:
    """The dearest lines of one bill, and what all others come to."""
    table = _table(
        f"{bill.environment}: what is dearest", "what", "where", "quantity", "unit", "at", "USD a month", "maximum"
    )
    for line in bill.lines[:count]:
        quantity, unit_usd = line.quantity.expected, line.unit_usd.expected
        sums = _usd(line.usd.expected), _usd(line.usd.ceiling)
        table.add_row(line.what, line.module, f"{quantity:,.6g}", line.unit, f"{unit_usd:.4g}", *sums)
    others = sum((line.usd for line in bill.lines[count:]), NOTHING)
    table.add_row(f"{len(bill.lines[count:])} others", "", "", "", "", _usd(others.expected), _usd(others.ceiling))
    return table


def models(bills: Sequence[Bill], limits: Mapping[str, Mapping[str, float]]) -> Table:
    """Expected cost by the tag `model`, with its limit where it has one. `limits` is by environment, then by model."""
    table = _table("USD a month by model", "model", *(bill.environment for bill in bills))
    for model in dict.fromkeys(model for bill in bills for model in bill.by_model):
        table.add_row(model, *(_of_model(bill, model, limits.get(bill.environment, {}).get(model)) for bill in bills))
    return table


def modules(bills: Sequence[Bill]) -> Table:
    """Expected cost by module of the root."""
    table = _table("USD a month by module", "module", *(bill.environment for bill in bills))
    for module in dict.fromkeys(module for bill in bills for module in bill.by_module):
        table.add_row(module, *(_usd(bill.by_module.get(module, NOTHING).expected) for bill in bills))
    return table


def spot(
    comparisons: Sequence[Comparison], training: Training = TRAINING, interval: float = CHECKPOINT_EACH_HOURS
) -> Table:
    """A training on spot against the same on-demand, and where they break even."""
    title = f"{training.hours:g} hours of training, a checkpoint each {interval:g} h, {training.restart_hours * 60:.0f} min to restart"
    columns = (
        "type",
        "spot/h",
        "on-demand/h",
        "taken a month",
        "on spot",
        "on-demand",
        "saved",
        "even at",
        "even each",
        "best each",
    )
    table = _table(title, *columns)
    for told in comparisons:
        rare, often = told.interrupted_a_month
        table.add_row(
            told.type + ("" if told.read else " *"),
            f"{told.spot_usd_an_hour:.4g}",
            f"{told.on_demand_usd_an_hour:.4g}",
            f"{rare:.0%} to {often:.0%}",
            f"${told.spot_usd[0]:.2f} to {told.spot_usd[1]:.2f}",
            f"${told.on_demand_usd:.2f}",
            f"{told.saved:.0%}",
            f"{told.break_even_rate:.2g}/h",
            _hours(told.break_even_interval),
            _hours(told.best_interval),
        )
    table.caption = (
        "even at: interruptions an hour at which spot costs as much; even each, best each: hours between checkpoints at the upper "
        "end of the band; * prices not read on a page"
    )
    return table


def as_dict(bill: Bill) -> dict[str, Any]:
    """The bill as JSON can hold it, all amounts in USD a month."""
    return {
        "environment": bill.environment,
        "on": bill.on.isoformat(),
        "usd_a_month": asdict(bill.total),
        "by_model": {model: asdict(span) for model, span in bill.by_model.items()},
        "by_module": {module: asdict(span) for module, span in bill.by_module.items()},
        "lines": [_line(line) for line in bill.lines],
        "prices": {
            key: {"usd": p.usd, "unit": p.unit, "as_of": p.as_of.isoformat(), "source": p.source, "read": p.read}
            for key, p in sorted(bill.prices.items())
        },
        "prices_not_read": bill.unread,
    }


_MEANS: Final = {"floor": "idle", "expected": "expected", "ceiling": "at its maximum"}


def _line(line: Line) -> dict[str, Any]:
    return {
        "place": line.place,
        "addresses": list(line.addresses),
        "what": line.what,
        "model": line.model,
        "module": line.module,
        "unit": line.unit,
        "quantity": asdict(line.quantity),
        "unit_usd": asdict(line.unit_usd),
        "usd_a_month": asdict(line.usd),
    }


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _usd(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 or amount == 0 else f"{amount:,.2f}"


def _of_budget(expected: float, limit: float) -> str:
    share = f"{expected / limit:.0%}"
    return f"[red]{share}[/red]" if expected > limit else share


def _of_model(bill: Bill, model: str, limit: float | None) -> str:
    expected: Span = bill.by_model.get(model, NOTHING)
    return _usd(expected.expected) + (f" of {_usd(limit)}" if limit is not None else "")


def _hours(hours: float) -> str:
    return "always" if math.isinf(hours) else f"{hours:,.0f} h" if hours >= 10 else f"{hours:.2g} h"
