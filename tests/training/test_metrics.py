"""Ranking metrics: their bounds, their best cases, and how sure a difference is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.metrics import hit_rate_at_k, ndcg_at_k, paired_bootstrap, recall_at_k

HITS = hnp.arrays(bool, st.tuples(st.integers(1, 8), st.just(20)))


@given(hits=HITS, missed=st.integers(0, 5))
def test_metrics_stay_between_nothing_and_everything(hits: np.ndarray, missed: int) -> None:
    """Whatever is recommended, a customer's figures lie in 0..1."""
    relevant = hits.sum(axis=1) + missed

    for figures in (ndcg_at_k(hits, relevant, 10), recall_at_k(hits, relevant, 20), hit_rate_at_k(hits, 10)):
        assert ((figures >= 0) & (figures <= 1 + 1e-12)).all()


@pytest.mark.parametrize("relevant", [1, 3, 10, 40])
def test_a_perfect_order_scores_one(relevant: int) -> None:
    """Also when the customer bought more than the list can hold."""
    hits = np.arange(20)[None, :] < relevant

    assert ndcg_at_k(hits, np.array([relevant]), 10) == pytest.approx(1)


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    """One relevant item at rank 3: 1 / log2(4)."""
    hits = np.eye(1, 20, 2, dtype=bool)

    assert ndcg_at_k(hits, np.array([1]), 10).tolist() == [0.5]


@given(hits=HITS, seed=st.integers(0, 9))
def test_customers_do_not_influence_each_other(hits: np.ndarray, seed: int) -> None:
    """Shuffling the customers shuffles the figures."""
    relevant = hits.sum(axis=1) + 1
    order = np.random.default_rng(seed).permutation(len(hits))

    assert np.array_equal(ndcg_at_k(hits, relevant, 10)[order], ndcg_at_k(hits[order], relevant[order], 10))


def test_a_customer_who_bought_nothing_scores_zero() -> None:
    """No division by zero."""
    assert ndcg_at_k(np.zeros((1, 20), bool), np.array([0]), 10).tolist() == [0]


def test_the_interval_of_a_clear_difference_excludes_zero_and_is_repeatable() -> None:
    """The same seed gives the same interval."""
    rng = np.random.default_rng(0)
    b = rng.random(300)
    a = b + 0.1 + rng.normal(0, 0.1, 300)

    found = paired_bootstrap(a, b, seed=1)

    assert 0.08 < found.low < found.value < found.high < 0.12
    assert found == paired_bootstrap(a, b, seed=1)
    assert found.n == 300
