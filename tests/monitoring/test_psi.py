"""PSI on the reference's quantiles sees what equal-width bins overlook."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.psi import psi

AMOUNTS = np.random.default_rng(0).lognormal(1, 1, 5_000)


def test_same_sample_scores_zero() -> None:
    """A sample has not moved against itself."""
    assert psi(AMOUNTS, AMOUNTS) == pytest.approx(0, abs=1e-12)


def test_two_samples_of_one_distribution_stay_below_the_threshold() -> None:
    """Three hundred customers of an unchanged world do not raise an alarm."""
    rng = np.random.default_rng(1)
    assert psi(rng.normal(size=1_200), rng.normal(size=300)) < 0.1


def test_unit_change_is_seen() -> None:
    """Pounds that became pence score far above any threshold (Evidently's own PSI gives 0.0985 on such a column)."""
    assert psi(AMOUNTS, AMOUNTS * 100) > 5


def test_nulls_are_seen() -> None:
    """A column that lost 60 % of its values has moved, though the rest of it has not."""
    holes = AMOUNTS.copy()
    holes[: int(0.6 * len(holes))] = np.nan
    assert psi(AMOUNTS, holes) > 1


def test_nothing_says_nothing() -> None:
    """An empty side is no evidence, and is not reported as zero drift."""
    assert np.isnan(psi([], AMOUNTS))
    assert np.isnan(psi(AMOUNTS, []))


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1),
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1),
)
def test_never_negative_and_always_finite(reference: list[float], current: list[float]) -> None:
    """PSI is a sum of products of equal signs, whatever the samples."""
    assert 0 <= psi(reference, current) < np.inf
