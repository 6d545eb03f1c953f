"""The ranker: the same examples give the same trees."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest

from training.recommender.examples import Examples
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import RankerParams, fingerprint, fit_ranker, score_pairs

SMALL = RankerParams(trees=5)


def examples(week: int, rows: int = 600) -> Examples:
    rng = np.random.default_rng(week)
    features = rng.random((rows, len(FEATURES)), dtype=np.float32)
    bought = features[:, 0] + rng.normal(0, 0.2, rows) > 0.7
    return Examples(datetime(2020, 1, week), np.zeros(rows, np.int32), features, bought)


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
    assert score_pairs(model, np.empty((0, len(FEATURES)), np.float32)).size == 0


@pytest.mark.slow
def test_two_processes_grow_the_same_trees() -> None:
    """With two threads each: a rebuilt model is the model, bit for bit."""
    program = (
        "from tests.training.recommender.test_ranker import *;"
        "print(fingerprint(fit_ranker([examples(1, 20_000), examples(2, 20_000)], SMALL, seed=0)))"
    )

    prints = {subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout for _ in "ab"}

    assert len(prints) == 1
