"""Evaluation: lists against what customers then bought."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.recommender.evaluate import measure


def pairs(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["user_id", "item_id"])


def lists(*rows: tuple[str, str, int, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["user_id", "scope", "rank", "item_id"])


def test_all_and_new_are_measured_apart() -> None:
    """What was bought before counts in `all` only."""
    week, earlier = pairs(("u", "old"), ("u", "fresh")), pairs(("u", "old"))

    found = measure(lists(("u", "all", 1, "old"), ("u", "new", 3, "fresh")), week, earlier).iloc[0]

    assert found["recall_at_20_all"] == 0.5
    assert found["ndcg_at_10_new"] == 0.5


def test_a_customer_without_a_list_scores_zero_and_one_without_new_purchases_is_not_asked() -> None:
    """Missing lists are failures; missing questions are not."""
    found = measure(lists(("v", "all", 1, "x")), pairs(("u", "x"), ("v", "x")), pairs(("v", "x"))).set_index("user_id")

    assert found.loc["u", "ndcg_at_10_all"] == 0
    assert found.loc["v", "ndcg_at_10_all"] == 1
    assert np.isnan(found.loc["v", "ndcg_at_10_new"])
