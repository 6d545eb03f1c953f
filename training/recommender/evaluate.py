"""Evaluate: measure lists of recommendations against what customers then bought, one row of figures per customer."""

import numpy as np
import pandas as pd

from training.metrics import hit_rate_at_k, ndcg_at_k, recall_at_k

MEASURES = (
    "ndcg_at_10_all",
    "recall_at_20_all",
    "hit_rate_at_10_all",
    "ndcg_at_10_new",
    "recall_at_20_new",
    "hit_rate_at_10_new",
)
DEPTH = 20


def measure(lists: pd.DataFrame, week_purchases: pd.DataFrame, earlier_purchases: pd.DataFrame) -> pd.DataFrame:
    """Measure `lists` (user_id, scope, rank, item_id) for every customer of the week; purchases need user_id and item_id.

    Returns user_id and MEASURES, sorted by user_id. A customer without a list scores 0. The `new` measures count only items the customer
    had never bought, and are NaN for customers who bought none.
    """
    bought = _pairs(week_purchases)
    earlier = _pairs(earlier_purchases[earlier_purchases["user_id"].isin(bought["user_id"])])
    marked = bought.merge(earlier, on=["user_id", "item_id"], how="left", indicator=True)
    relevant = {"all": bought, "new": marked.loc[marked["_merge"] == "left_only", ["user_id", "item_id"]]}
    users = pd.Index(np.sort(bought["user_id"].unique()), name="user_id")
    columns = [_measure_scope(lists[lists["scope"] == scope], pairs, users, scope) for scope, pairs in relevant.items()]
    return pd.concat(columns, axis=1)[list(MEASURES)].reset_index()


def _measure_scope(lists: pd.DataFrame, relevant: pd.DataFrame, users: pd.Index, scope: str) -> pd.DataFrame:
    listed = lists[lists["rank"] <= DEPTH].merge(relevant, on=["user_id", "item_id"])
    hits = np.zeros((len(users), DEPTH), dtype=bool)
    hits[users.get_indexer(pd.Index(listed["user_id"])), listed["rank"].to_numpy() - 1] = True
    counts = relevant.groupby("user_id").size().reindex(users, fill_value=0).to_numpy(np.int64)
    figures = pd.DataFrame(
        {
            f"ndcg_at_10_{scope}": ndcg_at_k(hits, counts, 10),
            f"recall_at_20_{scope}": recall_at_k(hits, counts, 20),
            f"hit_rate_at_10_{scope}": hit_rate_at_k(hits, 10),
        },
        index=users,
    )
    figures.loc[counts == 0] = np.nan
    return figures


def _pairs(purchases: pd.DataFrame) -> pd.DataFrame:
    return purchases[["user_id", "item_id"]].drop_duplicates()
