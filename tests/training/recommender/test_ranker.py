"""The ranker: the same examples give the same trees."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest

from training.recommender.examples import Examples
from training.recommender.index import ABSENT
from training.recommender.pair_features import FEATURES
from training.recommender.rank import SCOPES
from training.recommender.ranker import OWN_ORDERS, RankerParams, fingerprint, fit_ranker, score_pairs

SMALL = RankerParams(trees=5)


def examples(week: int, rows: int = 600) -> Examples:
    rng = np.random.default_rng(week)
    features = rng.random((rows, len(FEATURES)), dtype=np.float32)
    features[:, OWN_ORDERS] = ABSENT
    bought = features[:, 0] + rng.normal(0, 0.2, rows) > 0.7
    return Examples(datetime(2020, 1, week), np.repeat(np.arange(rows // 20, dtype=np.int32), 20), features, bought)


def test_the_order_of_the_weeks_does_not_matter() -> None:
    """A rebuild may list the cached weeks in any order."""
    one = fit_ranker([examples(1), examples(2)], SMALL, seed=0)
    two = fit_ranker([examples(2), examples(1)], SMALL, seed=0)

    assert fingerprint(one) == fingerprint(two)


def test_other_examples_or_another_seed_give_another_fingerprint() -> None:
    """The fingerprint proves something."""
    first = fit_ranker([examples(1)], SMALL, seed=0)

    assert fingerprint(first) != fingerprint(fit_ranker([examples(2)], SMALL, seed=0))
    assert fingerprint(first) != fingerprint(fit_ranker([examples(1)], SMALL, seed=1))


def test_scores_are_probabilities_one_a_pair() -> None:
    """Lists take what scores above 0; nothing to score is no error."""
    model = fit_ranker([examples(1)], SMALL, seed=0)

    scores = score_pairs(model, examples(2).features)

    assert scores.dtype == np.float32
    assert ((scores > 0) & (scores < 1)).all()
    assert score_pairs(model, np.empty((0, len(FEATURES)), np.float32)).shape == (0, 2)


def test_what_was_bought_before_has_no_score_as_new() -> None:
    """The trees for new items never saw such a pair, and are not asked about one."""
    model, rows = fit_ranker([examples(1)], SMALL, seed=0), examples(2).features
    rows[:300, OWN_ORDERS] = 3

    scores = score_pairs(model, rows)

    assert (scores[:300, SCOPES.index("new")] == 0).all()
    assert (scores[300:, SCOPES.index("new")] > 0).all()
    assert (scores[:, SCOPES.index("all")] > 0).all()


def test_a_log_without_first_purchases_has_both_lists() -> None:
    """A tiny log may hold only repeats; its trees for new items learn from those instead of failing."""
    week = examples(1)
    week.features[week.bought, OWN_ORDERS] = 1

    scores = score_pairs(fit_ranker([week], SMALL, seed=0), examples(2).features)

    assert (scores > 0).all()


@pytest.mark.slow
def test_two_processes_grow_the_same_trees() -> None:
    """With two threads each: a rebuilt model is the model, bit for bit."""
    program = (
        "from tests.training.recommender.test_ranker import *;"
        "print(fingerprint(fit_ranker([examples(1, 20_000), examples(2, 20_000)], SMALL, seed=0)))"
    )

    prints = {subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout for _ in "ab"}

    assert len(prints) == 1
