"""Whether a training is cheaper on spot: what interruptions cost, and where that breaks even with on-demand.

To the first order in the rate: interruptions while lost work is done again are left out, so that an overhead of 1 % is some 0.01 %
too low. A training without checkpoints has an interval as long as itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from infra.cost.errors import CostError
from infra.cost.pricing import PriceTable

HOURS_A_MONTH: Final = 730  # as AWS's own calculator counts


@dataclass(frozen=True, slots=True)
class Training:
    """Hours of work; hours until a lost machine is replaced and works again; and hours that writing one checkpoint takes."""

    hours: float
    restart_hours: float
    checkpoint_hours: float = 0.0

    def __post_init__(self) -> None:
        if self.hours <= 0 or self.restart_hours < 0 or self.checkpoint_hours < 0:
            raise CostError(
                f"A training of {self.hours:g} hours, {self.restart_hours:g} to restart and {self.checkpoint_hours:g} a "
                "checkpoint is none: hours must be above 0, the others not below."
            )


def hourly_rate(interrupted_a_month: float) -> float:
    """Interruptions an hour, where that share of machines is taken away within a month of 730 hours.

    A machine that is taken at a constant rate is still there after a month with probability exp(-730 rate).
    """
    if not 0 <= interrupted_a_month < 1:
        raise CostError(f"{interrupted_a_month:g} is no share of machines; give one from 0 to below 1, such as 0.05.")
    return -math.log1p(-interrupted_a_month) / HOURS_A_MONTH


def monthly_share(rate: float) -> float:
    """Share of machines taken away within a month at that many interruptions an hour; the inverse of `hourly_rate`."""
    return -math.expm1(-rate * HOURS_A_MONTH)


def expected_hours(training: Training, rate: float, interval: float) -> float:
    """Hours until a training is done on spot, with `rate` interruptions an hour and a checkpoint each `interval` hours.

    An interruption costs the restart and, on average, half an interval: AWS gives two minutes' notice, which this does not count on.
    Raises CostError for a rate below 0 or an interval that is not above it.
    """
    if rate < 0 or interval <= 0:
        raise CostError(
            f"A rate of {rate:g} with a checkpoint each {interval:g} hours cannot be; the interval must be above 0."
        )
    writing = training.checkpoint_hours / interval
    return training.hours * (1 + writing + rate * (training.restart_hours + interval / 2))


def spot_usd(training: Training, spot: float, rate: float, interval: float) -> float:
    """Expected USD on spot at `spot` USD an hour."""
    return spot * expected_hours(training, rate, interval)


def on_demand_usd(training: Training, on_demand: float) -> float:
    """USD on a machine that nobody takes away, and so without checkpoints."""
    return on_demand * training.hours


def break_even_rate(training: Training, spot: float, on_demand: float, interval: float) -> float:
    """Interruptions an hour at which spot costs as much as on-demand; 0 when it never costs less, infinite when always."""
    spare = on_demand / spot - 1 - training.checkpoint_hours / interval
    lost = training.restart_hours + interval / 2
    return max(spare / lost, 0.0)


def break_even_interval(training: Training, spot: float, on_demand: float, rate: float) -> float:
    """The longest interval in hours at which spot costs no more than on-demand; 0 when it always does, infinite at rate 0.

    Costs are equal where rate/2 x interval² - spare x interval + checkpoint = 0, with spare = on-demand / spot - 1 - rate x restart.
    """
    spare = on_demand / spot - 1 - rate * training.restart_hours
    if rate == 0:
        return math.inf if spare > 0 else 0.0
    root = spare**2 - 2 * rate * training.checkpoint_hours
    return (spare + math.sqrt(root)) / rate if spare > 0 and root >= 0 else 0.0


def best_interval(training: Training, rate: float) -> float:
    """The interval at which checkpoints and lost work together cost least, in hours; infinite at rate 0.

    J. W. Young, A first order approximation to the optimum checkpoint interval, CACM 17(9), 1974; Daly's of 2006 adds terms of
    higher order. 0 means that writing costs nothing, and each moment is a good one.
    """
    return math.sqrt(2 * training.checkpoint_hours / rate) if rate else math.inf


@dataclass(frozen=True, slots=True)
class Comparison:
    """One type's spot against on-demand, at the dear end of its spot prices and at both ends of its band of interruptions."""

    type: str
    spot_usd_an_hour: float
    on_demand_usd_an_hour: float
    interrupted_a_month: tuple[float, float]
    spot_hours: tuple[float, float]
    spot_usd: tuple[float, float]
    on_demand_usd: float
    break_even_rate: float  # interruptions an hour
    break_even_interval: float  # hours, at the upper end of the band
    best_interval: float  # hours, at the upper end of the band; no longer than the training
    read: bool

    @property
    def saved(self) -> float:
        """Share of the on-demand cost that spot spares when it is interrupted most."""
        return 1 - self.spot_usd[1] / self.on_demand_usd


def compare(training: Training, interval: float, prices: PriceTable) -> list[Comparison]:
    """Spot against on-demand for each type whose spot market somebody has seen."""
    return [_compare(training, interval, prices, type_) for type_ in prices.spots]


def _compare(training: Training, interval: float, prices: PriceTable, type_: str) -> Comparison:
    seen, spot, on_demand = prices.spots[type_], prices.spot(type_).usd, prices.on_demand(type_).usd
    rare, often = (hourly_rate(share) for share in seen.interrupted_a_month)
    return Comparison(
        type=type_,
        spot_usd_an_hour=spot,
        on_demand_usd_an_hour=on_demand,
        interrupted_a_month=seen.interrupted_a_month,
        spot_hours=(expected_hours(training, rare, interval), expected_hours(training, often, interval)),
        spot_usd=(spot_usd(training, spot, rare, interval), spot_usd(training, spot, often, interval)),
        on_demand_usd=on_demand_usd(training, on_demand),
        break_even_rate=break_even_rate(training, spot, on_demand, interval),
        break_even_interval=break_even_interval(training, spot, on_demand, often),
        best_interval=min(best_interval(training, often), training.hours),
        read=seen.read is not None,
    )
