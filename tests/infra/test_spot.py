"""Spot against on-demand: what interruptions cost, where it breaks even, and how often a checkpoint is worth its time."""

import math
import random
from statistics import fmean, stdev

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infra.cost.errors import CostError
from infra.cost.pricing import PriceTable
from infra.cost.spot import (
    Training,
    best_interval,
    break_even_interval,
    break_even_rate,
    compare,
    expected_hours,
    hourly_rate,
    monthly_share,
    on_demand_usd,
    spot_usd,
)

trainings = st.builds(
    Training,
    hours=st.floats(0.5, 200),
    restart_hours=st.floats(0, 1),
    checkpoint_hours=st.floats(0, 0.2),
)
rates, intervals, spots, dearer = st.floats(1e-5, 0.2), st.floats(0.1, 24), st.floats(0.05, 5), st.floats(1.05, 4)
G6 = {"spot": 0.693, "on_demand": 1.3232}  # g6.4xlarge, us-east-1


def test_the_formula_by_hand() -> None:
    """Ten hours at .02 interruptions an hour, each costing 15 minutes and half of two hours, take 10.25 hours."""
    training = Training(hours=10, restart_hours=0.25)
    assert expected_hours(training, rate=0.02, interval=2) == pytest.approx(10.25)
    assert spot_usd(training, spot=0.4, rate=0.02, interval=2) == pytest.approx(4.10)
    assert on_demand_usd(training, on_demand=1.0) == 10.0


@pytest.mark.parametrize(("share", "rate"), [(0.0, 0.0), (0.05, 7.0265e-5), (0.10, 1.44329e-4), (0.20, 3.05676e-4)])
def test_a_month_s_band_as_a_rate(share: float, rate: float) -> None:
    """AWS's bands are shares of machines a month; an hour's rate gives that share back after 730 hours."""
    assert hourly_rate(share) == pytest.approx(rate, rel=1e-4)
    assert monthly_share(hourly_rate(share)) == pytest.approx(share)


@given(trainings, spots, intervals)
def test_without_interruptions_spot_costs_its_hours(training: Training, spot: float, interval: float) -> None:
    """At rate 0 nothing is lost: hours and written checkpoints, at the spot price."""
    written = training.hours / interval * training.checkpoint_hours
    assert spot_usd(training, spot, 0, interval) == pytest.approx(spot * (training.hours + written))


@given(trainings, rates, rates, intervals)
def test_more_interruptions_cost_more(training: Training, one: float, other: float, interval: float) -> None:
    """The cost rises with the rate."""
    assume(other > one * 1.01)
    assert expected_hours(training, other, interval) > expected_hours(training, one, interval)


@given(trainings, rates, intervals, intervals)
def test_rarer_checkpoints_lose_more(training: Training, rate: float, one: float, other: float) -> None:
    """Where writing costs nothing, the cost rises with the interval."""
    assume(other > one * 1.01)
    free = Training(training.hours, training.restart_hours)
    assert expected_hours(free, rate, other) > expected_hours(free, rate, one)


@given(trainings, spots, dearer, intervals)
def test_at_the_break_even_rate_costs_are_equal(training: Training, spot: float, times: float, interval: float) -> None:
    """At the break-even rate spot costs what on-demand does; a rate of 0 says that it never costs less."""
    rate = break_even_rate(training, spot, spot * times, interval)
    even = on_demand_usd(training, spot * times)
    if rate:
        assert spot_usd(training, spot, rate, interval) == pytest.approx(even)
    else:
        assert spot_usd(training, spot, 1e-9, interval) > even * (1 - 1e-6)


@given(trainings, spots, dearer, rates)
def test_at_the_break_even_interval_costs_are_equal(training: Training, spot: float, times: float, rate: float) -> None:
    """At the break-even interval spot costs what on-demand does, and a tenth longer more; 0 says that no interval will do."""
    interval = break_even_interval(training, spot, spot * times, rate)
    even = on_demand_usd(training, spot * times)
    if interval:
        assert spot_usd(training, spot, rate, interval) == pytest.approx(even)
        assert spot_usd(training, spot, rate, interval * 1.1) > even
    else:
        cheapest = best_interval(training, rate) or 1e-9
        assert spot_usd(training, spot, rate, cheapest) >= even * (1 - 1e-6)


@given(trainings, rates, st.floats(0.2, 5))
def test_no_interval_is_better_than_the_best(training: Training, rate: float, times: float) -> None:
    """Young's interval is the cheapest: shorter ones write too much, longer ones lose too much."""
    assume(training.checkpoint_hours > 1e-4)
    best = best_interval(training, rate)
    assert expected_hours(training, rate, best) <= expected_hours(training, rate, best * times) * (1 + 1e-12)


def test_the_best_interval_by_hand() -> None:
    """A checkpoint of a minute at 10 % a month is worth writing each 15.2 hours: the square root of 2 / 60 / .000144."""
    assert best_interval(Training(12, 0.1, 1 / 60), hourly_rate(0.10)) == pytest.approx(15.2, abs=0.05)
    assert best_interval(Training(12, 0.1, 1 / 60), 0) == math.inf


def test_break_even_of_a_g6_by_hand() -> None:
    """With a checkpoint an hour and ten minutes to restart, a g6.4xlarge must be taken 1.36 times an hour to be no cheaper."""
    training = Training(hours=12, restart_hours=1 / 6)
    assert break_even_rate(training, **G6, interval=1) == pytest.approx(1.364, abs=0.001)
    assert break_even_interval(training, **G6, rate=0.1) == pytest.approx(17.85, abs=0.01)
    assert break_even_interval(training, **G6, rate=0) == math.inf


def test_spot_that_is_dearer_never_breaks_even() -> None:
    """Spot above on-demand has no break-even."""
    training = Training(hours=12, restart_hours=1 / 6)
    assert break_even_rate(training, spot=1.5, on_demand=1.3232, interval=1) == 0
    assert break_even_interval(training, spot=1.5, on_demand=1.3232, rate=0.1) == 0
    assert break_even_interval(training, spot=1.5, on_demand=1.3232, rate=0) == 0


def simulated_hours(training: Training, rate: float, interval: float, dice: random.Random) -> float:
    """One training as it would go: work to the next checkpoint, or until the machine is taken and the piece begins again."""
    elapsed, left = 0.0, training.hours
    while left > 1e-9:
        piece = min(interval, left)
        until_taken = dice.expovariate(rate)
        if until_taken < piece:
            elapsed += until_taken + training.restart_hours
        else:
            elapsed, left = elapsed + piece + training.checkpoint_hours, left - piece
    return elapsed


def test_the_formula_agrees_with_trainings_that_are_interrupted() -> None:
    """Four thousand simulated trainings take what the formula says, within four standard errors, which half of the loss exceeds."""
    training, rate, interval = Training(hours=20, restart_hours=0.25, checkpoint_hours=0.01), 0.02, 1.0
    dice = random.Random(20261126)
    hours = [simulated_hours(training, rate, interval, dice) for _ in range(4000)]
    error = 4 * stdev(hours) / math.sqrt(len(hours))
    lost = training.hours * rate * (training.restart_hours + interval / 2)
    assert abs(fmean(hours) - expected_hours(training, rate, interval)) < error < lost / 2


def test_types_that_were_seen_are_compared() -> None:
    """Each type with a spot price is set against its on-demand price, with its band and both break-evens."""
    told = {c.type: c for c in compare(Training(12, 1 / 6), 1.0, PriceTable.read())}["g6.4xlarge"]
    assert (told.spot_usd_an_hour, told.on_demand_usd_an_hour, told.interrupted_a_month) == (
        0.693,
        1.3232,
        (0.05, 0.10),
    )
    assert told.on_demand_usd == pytest.approx(15.88, abs=0.005)
    assert told.spot_usd == pytest.approx((8.3164, 8.3168), abs=1e-4)  # type: ignore[comparison-overlap]
    assert told.saved == pytest.approx(0.476, abs=0.001)
    assert told.break_even_rate == pytest.approx(1.364, abs=0.001)
    assert not told.read


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """A band is a share of machines, and not all of them."""
    with pytest.raises(CostError, match="no share of machines"):
        hourly_rate(share)


def test_an_interval_of_nothing_is_refused() -> None:
    """A checkpoint each 0 hours cannot be."""
    with pytest.raises(CostError, match="must be above 0"):
        expected_hours(Training(1, 0), 0.1, 0)


def test_a_training_of_no_hours_is_refused() -> None:
    """Nothing to train costs nothing, and has no break-even."""
    with pytest.raises(CostError, match="hours must be above 0"):
        Training(0, 0)
