"""An explanation tells where each item comes from, and why another one is not on the list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.explain import explanation
from serving.feature_reader import UserFeatures
from serving.questions import Question
from serving.recommender import Answer, Asked, decide
from serving.routing import REST
from tests.serving.small_shop import FakeModel, by_sales, fails, only_plain, row_of, rows, shop, slots
from training.recommender.index import FloatArray
from training.recommender.pair_features import FEATURES
from training.recommender.states import USER_FEATURES

STRANGER = "a stranger"  # to whom the popular items are proposed, 60 of the 80, and nothing else


def answer_to(
    user_id: str, k: int = 5, scope: str = "all", scores: Callable[[FloatArray], FloatArray] = by_sales
) -> Answer:
    features = UserFeatures(rows().get(user_id), "fresh")
    [answer] = decide(slots({"champion": FakeModel("7", scores)}), [Asked(Question(user_id, k, scope), features, REST)])
    return answer


def explained(answer: Answer, item_id: str | None = None) -> dict[str, Any]:
    return explanation(answer, shop()[1], item_id=item_id, features_s=0.0021)


def why(answer: Answer, item_id: str) -> str:
    return explained(answer, item_id)["asked_about"]["why"]


def by_score(user_id: str, scope: str = "all") -> list[str]:
    """Everything that was proposed to a customer, best first."""
    answer = answer_to(user_id, shop()[1].size, scope)
    assert answer.prepared is not None
    proposed = set(shop()[1].item_ids[answer.prepared.candidates.items].tolist())
    return [item_id for item_id in answer.ranked.item_ids if item_id in proposed]


def bought_by(user_id: str) -> list[str]:
    return rows()[user_id].values["history_item_ids"].tolist()


def test_the_answer_is_explained_as_it_was_given() -> None:
    """What is explained is the asker's own list, with the items in its order and the model's scores."""
    answer = answer_to("u2")
    found = explained(answer)
    assert found["answer"] == answer.to_dict("not logged")
    assert [item["item_id"] for item in found["items"]] == answer.ranked.item_ids
    assert [item["score"] for item in found["items"]] == answer.ranked.scores
    assert found["asked_about"] is None


def test_a_score_is_what_the_model_made_of_the_features_beside_it() -> None:
    """Features are those of the very pair that was scored."""
    for item in explained(answer_to("u2", k=20))["items"]:
        assert item["score"] == pytest.approx((item["features"]["item_purchases_4w"] + 1) / 1000)


def test_features_that_say_nothing_are_left_out() -> None:
    """An item that the customer never bought has no history with them."""
    items = {item["item_id"]: item for item in explained(answer_to("u2", k=20))["items"]}
    bought = {item_id for item_id, item in items.items() if "own_orders" in item["features"]}
    assert bought == set(bought_by("u2")) & set(items)
    assert bought != set(items)


def test_what_was_known_of_the_customer_is_told() -> None:
    """With its age beside the index: here of nine days before."""
    states, index = shop()
    row = row_of(states, index, states.user_ids.tolist().index("u2"), index.as_of.replace(day=21))
    question = Asked(Question("u2", 5, "all"), UserFeatures(row, "stale_features"), REST)
    [answer] = decide(slots({"champion": FakeModel("7")}), [question])
    features = explained(answer)["features"]
    assert features.pop("values") == {name: row.values[name] for name in USER_FEATURES}
    assert features == {
        "rung": "stale_features",
        "known": True,
        "as_of": "2020-03-21",
        "days_older_than_index": 9,
        "items_in_history": len(bought_by("u2")),
    }


def test_a_stranger_has_nothing_to_tell() -> None:
    """No row, no values, no history; and only what is popular was proposed."""
    found = explained(answer_to(STRANGER))
    assert found["features"] == {
        "rung": "fresh",
        "known": False,
        "as_of": None,
        "days_older_than_index": None,
        "values": {},
        "items_in_history": 0,
    }
    assert {source: count for source, count in found["candidates"].items() if count} == {"popular": 60, "together": 60}


def test_every_source_that_speaks_for_an_item_is_named_with_its_place() -> None:
    """The best by habit is first of what was bought before, and popular goes without a place."""
    answer = answer_to("u2", k=shop()[1].size)
    items = {item["item_id"]: item for item in explained(answer)["items"]}
    assert answer.prepared is not None
    candidates = answer.prepared.candidates
    best = str(shop()[1].item_ids[candidates.items[candidates.scores[:, 0].argmax()]])
    assert {"source": "repeat", "place": 1} in items[best]["sources"]
    popular = {item_id for item_id, item in items.items() if {"source": "popular", "place": None} in item["sources"]}
    assert popular == set(shop()[1].item_ids[shop()[1].shared_candidates["popular"]].tolist())
    repeated = {item_id for item_id, item in items.items() if "repeat" in {s["source"] for s in item["sources"]}}
    assert repeated == set(bought_by("u2"))


def test_candidates_are_counted_by_source() -> None:
    """As many as were bought before speak by habit, and all sources together propose each item once."""
    counts = explained(answer_to("u2"))["candidates"]
    assert counts["repeat"] == len(bought_by("u2"))
    assert counts["popular"] == 60
    assert counts["together"] == len(by_score("u2"))


def test_an_item_on_the_list_is_told_its_rank() -> None:
    """With everything that is told of the items of the list."""
    answer = answer_to("u2")
    found = explained(answer, answer.ranked.item_ids[2])
    assert found["asked_about"] == {**found["items"][2], "why": "on the list, at rank 3"}


def test_an_item_below_the_cut_is_told_how_many_score_higher() -> None:
    """By its score, and not by its place in some order: those who score the same are not above it."""
    last = by_score("u2")[-1]
    answer = answer_to("u2", k=3)
    assert answer.prepared is not None
    scores = answer.ranked.candidate_scores
    score = explained(answer, last)["asked_about"]["score"]
    higher = int((scores > np.float32(score)).sum())
    assert score == scores.min()
    assert 3 <= higher < len(scores)
    assert why(answer, last) == f"{higher} candidates score higher, and 3 were asked for"


def test_an_item_bought_before_is_filtered_out_of_new_ones() -> None:
    """And of new ones only: among all items it is on the list or below the cut."""
    bought = bought_by("u2")[0]
    assert why(answer_to("u2", scope="new"), bought) == (
        "filtered out: the customer bought it before, and the list is of new items"
    )
    assert "filtered out" not in why(answer_to("u2"), bought)


def test_a_new_item_below_the_cut_is_not_filtered_out() -> None:
    """Whoever asks for new items and misses one that was never bought is told of its score."""
    assert why(answer_to("u2", k=1, scope="new"), by_score("u2", "new")[-1]).endswith("and 1 were asked for")


def test_an_item_that_nobody_proposed_says_so() -> None:
    """It has no score, because the model was never asked about it."""
    answer = answer_to(STRANGER)
    unpopular = shop()[1].item_ids[shop()[1].popularity.argmin()]
    found = explained(answer, str(unpopular))["asked_about"]
    assert found == {
        "item_id": str(unpopular),
        "score": None,
        "sources": [],
        "why": "no source proposed it to this customer",
    }


def test_an_item_that_fills_up_the_list_says_so() -> None:
    """Behind the 60 that were proposed to a stranger come the popular ones that were not."""
    answer = answer_to(STRANGER, k=61)
    filler = explained(answer)["items"][60]
    assert (filler["score"], filler["why"]) == (None, "no candidate: popular items fill up the list")
    assert why(answer, filler["item_id"]) == "on the list, at rank 61"


def test_where_nothing_was_ranked_the_explanation_says_so() -> None:
    """On the last rung neither candidates nor scores are there to be told."""
    answer = answer_to("u2", scores=fails)
    found = explained(answer, answer.ranked.item_ids[0])
    assert (found["candidates"], found["features"]["rung"]) == ({}, "popular_items")
    assert {item["why"] for item in found["items"]} == {"nothing was ranked: these are the popular items"}
    assert found["asked_about"]["why"] == "on the list, at rank 1"
    elsewhere = shop()[1].item_ids[shop()[1].popularity.argmin()]
    assert why(answer, str(elsewhere)) == "nothing was ranked: these are the popular items"


def test_the_steps_are_timed_in_milliseconds() -> None:
    """Reading features as long as it took; finding candidates and scoring them if any were."""
    steps = explained(answer_to("u2"))["steps_ms"]
    assert steps["features"] == 2.1
    assert 0 < steps["candidates"] < 10_000
    assert 0 < steps["score"] < 10_000
    assert explained(answer_to("u2", scores=fails))["steps_ms"] == {"features": 2.1}


@pytest.mark.parametrize("user_id", ["u2", STRANGER])
@pytest.mark.parametrize("scope", ["all", "new"])
@pytest.mark.parametrize("scores", [by_sales, fails])
def test_an_explanation_is_plain_json(user_id: str, scope: str, scores: Callable[[FloatArray], FloatArray]) -> None:
    """No NumPy in it and no number that JSON does not know, whatever is explained."""
    answer = answer_to(user_id, shop()[1].size, scope, scores)
    for item_id in (*shop()[1].item_ids.tolist()[::10], *answer.ranked.item_ids[:1]):
        found = explained(answer, item_id)
        assert only_plain(found)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert set(found["asked_about"].get("features", {})) <= set(FEATURES)
