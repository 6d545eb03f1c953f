"""The bench: the ranker beats simple rules in worlds unlike the one it was tuned on."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.training.recommender.logs import monday, news_log, shop_log
from training.recommender.baselines import BASELINES
from training.recommender.bench import OURS, Replay, Row, as_table, bench_parts, bench_rankers, bench_recommender
from training.recommender.ranker import RankerParams

SMALL = Replay(label_weeks=3, params=RankerParams(trees=30))


def figures(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame({row.model: row.figures for row in rows}).T


def test_news_that_lives_a_week_and_is_never_read_twice() -> None:
    """Own history and long memory are worthless here; text, topic and the last days are not."""
    found = figures(
        bench_recommender(news_log(), [monday(11)], replay=SMALL, baselines=("popularity_4w", "repeat_x_popularity"))
    )

    assert found.loc[OURS, "ndcg_at_10_all"] > 2 * found.drop(OURS)[["ndcg_at_10_all", "ndcg_at_10_new"]].max(axis=None)


def test_a_shop_where_people_restock() -> None:
    """Popularity knows nobody."""
    found = figures(bench_recommender(shop_log(), [monday(14)], replay=SMALL, baselines=("popularity_4w",)))

    assert found.loc[OURS, "ndcg_at_10_all"] > found.loc["popularity_4w", "ndcg_at_10_all"] + 0.2


@pytest.mark.slow
def test_every_baseline_ranker_and_part_is_measured() -> None:
    """One row each, ready to print."""
    shop = shop_log(customers=30, weeks=10)

    rows = [
        *bench_recommender(shop, [monday(9)], replay=SMALL),
        *bench_rankers(shop, [monday(9)], replay=SMALL),
        *bench_parts(shop, [monday(9)], replay=SMALL),
    ]

    assert {row.model for row in rows} >= {
        *BASELINES,
        OURS,
        "lightgbm_lambdarank",
        "sklearn_binary",
        "xgboost_binary",
        "without source text",
    }
    assert as_table(rows).row_count == len(rows)
