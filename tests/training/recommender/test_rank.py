"""The lists: complete, in order, and new where they say so."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tests.training.recommender.logs import monday, shop_log
from training.recommender.bench import Log
from training.recommender.index import FloatArray, ItemIndex
from training.recommender.pair_features import FEATURES
from training.recommender.rank import rank_planes, recommend
from training.recommender.states import STATE_COLUMNS, UserStates, read_states


def by_recent_sales(features: FloatArray) -> FloatArray:
    """Stand in for a model: the same order in both lists."""
    return np.repeat((features[:, [FEATURES.index("item_purchases_4w")]] + 1) / 1000, 2, axis=1)


def test_every_customer_gets_twenty_of_each(states: UserStates, index: ItemIndex) -> None:
    """Popular items fill up what the candidates leave open."""
    lists = recommend(by_recent_sales, states, index, k=20)

    counts = lists.groupby(["user_id", "scope"])["rank"].agg(["min", "max", "nunique"])

    assert len(counts) == 2 * states.size
    assert (counts == [1, 20, 20]).all(axis=None)
    assert not lists.duplicated(["user_id", "scope", "item_id"]).any()


def test_the_new_list_holds_nothing_bought_before(shop: Log, states: UserStates, index: ItemIndex) -> None:
    """Not even as filler."""
    lists = recommend(by_recent_sales, states, index)
    bought = shop.before(index.as_of)[["user_id", "item_id"]].drop_duplicates()

    assert lists[lists["scope"] == "new"].merge(bought, on=["user_id", "item_id"]).empty
    assert not lists[lists["scope"] == "all"].merge(bought, on=["user_id", "item_id"]).empty


def test_lists_do_not_depend_on_the_batch(states: UserStates, index: ItemIndex) -> None:
    """Served alone or scored in bulk: the same list and the same scores."""
    together = recommend(by_recent_sales, states, index)
    alone = pd.concat([recommend(by_recent_sales, one, index) for one in states.batches(1)])
    keys = ["user_id", "scope", "rank"]

    pd.testing.assert_frame_equal(
        together.sort_values(keys, ignore_index=True), alone.sort_values(keys, ignore_index=True), check_exact=True
    )


def test_ties_go_to_the_smaller_item_number(states: UserStates, index: ItemIndex) -> None:
    """So that two runs give the same list."""
    plane = np.ones((states.size, index.size), np.float32)

    assert (rank_planes({"all": plane, "new": plane}, states, index, k=5).items["all"] == np.arange(5)).all()


def test_each_list_follows_its_own_scores(states: UserStates, index: ItemIndex) -> None:
    """The order of all items says nothing about the order of new ones."""
    rising = np.tile(np.arange(1, index.size + 1, dtype=np.float32), (states.size, 1))
    ranking = rank_planes({"all": rising, "new": rising[:, ::-1]}, states, index, k=index.size)

    assert (ranking.items["all"] == np.arange(index.size)[::-1]).all()
    assert all((np.diff(row[row >= 0]) > 0).all() for row in ranking.items["new"])


def test_a_shop_with_one_item_recommends_it_until_it_was_bought() -> None:
    """The list is as long as the catalogue allows."""
    states, index = Log(shop_log(customers=3, items=1, weeks=5)).inputs(monday(4))
    stranger = read_states({name: ["u" if name == "user_id" else None] for name in STATE_COLUMNS}, index)

    known, unknown = (recommend(by_recent_sales, who, index) for who in (states, stranger))

    assert set(known["scope"]) == {"all"}
    assert unknown["item_id"].tolist() == ["i0", "i0"]


def test_one_customer_is_enough() -> None:
    """Nothing is learned from others, and nothing breaks."""
    states, index = Log(shop_log(customers=1, items=30, weeks=12)).inputs(monday(9))

    lists = recommend(by_recent_sales, states, index, k=20)

    assert lists[lists["scope"] == "all"]["rank"].tolist() == list(range(1, min(20, index.size) + 1))
    assert set(lists[lists["scope"] == "new"]["item_id"]) <= set(index.item_ids) - set(index.item_ids[states.items])


def test_no_customers_are_no_lists(states: UserStates, index: ItemIndex) -> None:
    """An empty shop is no error."""
    nobody = read_states({name: [] for name in STATE_COLUMNS}, index)

    assert recommend(by_recent_sales, nobody, index).empty
