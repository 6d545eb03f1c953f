"""How unusual a figure is: beside the days before, and beside the noise of its own sample."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.fraud.figures import Figure, Standing, log_ratio, share, standing

FORTNIGHT = [1.0, 3.0] * 7  # median 2, deviation 1 each day


def test_a_figure_is_compared_with_the_days_before() -> None:
    """Usual is the median, the spread 1.4826 times the median absolute deviation, z how many of them it is off."""
    found = standing(Figure(5.0, noise=0.1, n=40), FORTNIGHT)
    assert found == Standing(5.0, 2.0, 1.4826, pytest.approx(3 / 1.4826), 40, 0.1)
    assert standing(Figure(-1.0), FORTNIGHT).z == pytest.approx(-3 / 1.4826)


@pytest.mark.parametrize("past", [[], FORTNIGHT[:13], [*FORTNIGHT[:13], math.nan, math.inf]])
def test_less_than_a_fortnight_is_too_little_to_know(past: list[float]) -> None:
    """Fourteen days that are numbers are needed; the value itself is kept."""
    found = standing(Figure(5.0, noise=0.1, n=40), past)
    assert (found.value, found.n, found.noise) == (5.0, 40, 0.1)
    assert all(math.isnan(unknown) for unknown in (found.usual, found.spread, found.z))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_not_unusual(value: float) -> None:
    """It has no z, however much is known of the past."""
    assert math.isnan(standing(Figure(value), FORTNIGHT).z)


def test_days_that_are_no_numbers_are_left_out() -> None:
    """A day on which a figure could not be had neither counts nor spoils the others."""
    assert standing(Figure(5.0), [math.nan, *FORTNIGHT, math.inf]) == standing(Figure(5.0), FORTNIGHT)


def test_a_flat_past_makes_any_change_stand_out_and_none_is_zero() -> None:
    """Without any spread the division is by a trifle, never by zero."""
    assert standing(Figure(0.0), [0.0] * 14).z == 0.0
    assert standing(Figure(0.001), [0.0] * 14).z == pytest.approx(1e6)


def test_the_noise_of_a_small_sample_widens_the_spread() -> None:
    """Ten payments say little, however steady the past was."""
    assert standing(Figure(0.3, noise=0.1, n=10), [0.1] * 14).z == pytest.approx(2.0)
    assert standing(Figure(5.0, noise=0.1), FORTNIGHT).spread == 1.4826
    assert standing(Figure(5.0, noise=2.0), FORTNIGHT).spread == 2.0


def test_one_odd_day_does_not_move_what_is_usual() -> None:
    """The median stays; the spread is at least four fifths of the standard deviation, so the odd day is not forgotten."""
    found = standing(Figure(5.0), [*[2.0] * 15, 10.0])
    assert found.usual == 2.0
    assert found.spread == pytest.approx(0.8 * 8 * math.sqrt(15) / 16)


def test_a_share_has_the_noise_of_its_sample() -> None:
    """A quarter of a hundred, drawn a little towards a half."""
    found = share(25, 100)
    assert (found.value, found.n) == (0.25, 100)
    assert found.noise == pytest.approx(math.sqrt(25.5 / 101 * 75.5 / 101 / 100))


def test_no_hits_are_not_certain() -> None:
    """None of four leaves much noise, none of four hundred little."""
    assert share(0, 4).value == 0.0
    assert share(0, 4).noise == pytest.approx(0.15)
    assert 0 < share(0, 400).noise < 0.005


@pytest.mark.parametrize("found", [share(0, 0), log_ratio(5, 0), log_ratio(5, math.nan)])
def test_of_nothing_there_is_no_figure(found: Figure) -> None:
    """A share of none and a ratio to none are not numbers, and have no sample."""
    assert math.isnan(found.value)
    assert (found.noise, found.n) == (0.0, 0)


def test_a_ratio_is_zero_where_what_was_expected_came() -> None:
    """The logarithm of one more of each; its noise is that of the count."""
    assert log_ratio(8, 8) == Figure(0.0, pytest.approx(1 / 3), 8)
    assert log_ratio(17, 8).value == pytest.approx(math.log(2))
    assert log_ratio(0, 1).value == pytest.approx(-math.log(2))


@given(value=st.integers(-50, 50), past=st.lists(st.integers(-50, 50), min_size=14, max_size=30))
def test_a_standing_is_always_a_number_once_a_fortnight_is_known(value: int, past: list[int]) -> None:
    """And its sign says on which side of the usual it is."""
    found = standing(Figure(value), past)
    assert math.isfinite(found.z)
    assert (found.z > 0) == (value > found.usual)
