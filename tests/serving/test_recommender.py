"""Everybody gets a list: the batch's own where all is well, a stand-in's where it is not, and each is logged as what it was."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.definitions import RECOMMENDER
from feature_repo.feast_store import OnlineRow
from serving import recommender
from serving.feature_reader import UserFeatures
from serving.prediction_log import PredictionLog
from serving.questions import Question
from serving.recommender import Answer, Asked, Recommender, decide
from serving.release import SlotName, Traffic
from serving.routing import CANARY, REST, Route
from serving.slots import Model, Slots
from serving.together import TOGETHER
from tests.serving.released import ranker
from tests.serving.small_shop import (
    FakeModel,
    FakeReader,
    by_habit,
    by_sales,
    fails,
    only_plain,
    row_of,
    rows,
    shop,
    slots,
)
from training.predictions import read_predictions
from training.recommender.index import FloatArray
from training.recommender.rank import recommend
from training.recommender.ranker import score_pairs
from training.recommender.states import STATE_COLUMNS, read_states

# By the hash of their ids, at a share of .1: two in the canary, two in the control, two in neither.
IN_CANARY, IN_CONTROL, IN_NEITHER = ("u2", "u14"), ("u1", "u27"), ("u0", "u11")
CANARY_TRAFFIC, SHADOW = Traffic("canary", 0.1), Traffic("shadow")


def asked(user_id: str | None, k: int = 5, scope: str = "all", *, route: Route = REST) -> Asked:
    """The question of a customer whose row was read."""
    row = rows().get(user_id or "")
    return Asked(Question(user_id, k, scope), UserFeatures(row, "fresh"), route)


def told(answer: Answer) -> tuple[list[str], list[float]]:
    return answer.ranked.item_ids, answer.ranked.scores


# Which slots are broken, and who answers for the slot that was asked.
ALL: tuple[SlotName, ...] = ("champion", "challenger", "previous")
STAND_INS: list[tuple[SlotName, set[str], set[str], SlotName | None, tuple[SlotName, ...]]] = [
    # asked       held                     broken                       answers      reported as failed
    ("champion", {*ALL}, set(), "champion", ()),
    ("challenger", {*ALL}, set(), "challenger", ()),
    ("challenger", {*ALL}, {"champion", "previous"}, "challenger", ()),
    ("challenger", {*ALL}, {"challenger"}, "champion", ("challenger",)),
    ("challenger", {*ALL}, {"challenger", "champion"}, "previous", ("challenger", "champion")),
    ("challenger", {*ALL}, {*ALL}, None, ("challenger", "champion", "previous")),
    ("champion", {*ALL}, {"champion"}, "previous", ("champion",)),
    ("champion", {*ALL}, {"champion", "previous"}, None, ("champion", "previous")),
    ("champion", {"champion", "challenger"}, {"champion"}, None, ("champion",)),
    ("challenger", {"champion"}, set(), "champion", ()),  # a challenger that was taken back meanwhile has not failed
]


def scores_but_one(value: float) -> Callable[[FloatArray], FloatArray]:
    """Scores of which the last is another."""
    return lambda features: np.append(by_habit(features)[:-1], np.float32(value))


def raises(error: Exception) -> Callable[[FloatArray], FloatArray]:
    def scores(features: FloatArray) -> FloatArray:
        raise error

    return scores


BROKEN: dict[str, Callable[[FloatArray], FloatArray]] = {
    "raises": fails,
    "lacks a key": raises(KeyError("trees")),
    "has no memory": raises(MemoryError()),
    "scores NaN": scores_but_one(float("nan")),
    "scores infinity": scores_but_one(float("inf")),
    "scores too few": lambda features: by_habit(features)[:-1],
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("case", STAND_INS)
def test_a_slot_that_fails_is_answered_for(
    case: tuple[SlotName, set[str], set[str], SlotName | None, tuple[SlotName, ...]], fault: str
) -> None:
    """By the champion, then by the previous version, then by what is popular; each slot that failed is reported."""
    wanted, held, broken, answers, failed = case
    models = {s: FakeModel(f"v-{s}", BROKEN[fault] if s in broken else by_habit) for s in held}
    [answer] = decide(slots(models), [asked("u2", route=Route(wanted, "rest"))])

    assert (answer.slot, answer.failed) == (answers, failed)
    assert answer.model_version == (f"v-{answers}" if answers else None)
    assert answer.rung == ("fresh" if answers else "popular_items")
    [healthy] = decide(slots({"champion": FakeModel("7", by_habit)}), [asked("u2")])
    best_sellers = np.argsort(-shop()[1].popularity, kind="stable")[:5]
    assert answer.ranked.item_ids == (healthy.ranked.item_ids if answers else shop()[1].item_ids[best_sellers].tolist())


def test_the_models_of_the_slots_give_other_lists() -> None:
    """So that the tests of who answers can tell them apart."""
    both = slots({"champion": FakeModel("7"), "challenger": FakeModel("8", by_habit)})
    champion, challenger = decide(both, [asked("u2"), asked("u2", route=CANARY)])
    assert told(champion) != told(challenger)


def test_a_failing_slot_costs_only_those_who_were_routed_to_it() -> None:
    """In one batch the champion's customers are answered by it as if nothing were the matter."""
    held = slots({"champion": FakeModel("7"), "challenger": FakeModel("8", fails)})
    mine, theirs = decide(held, [asked("u0"), asked("u2", route=CANARY)])
    assert (mine.slot, mine.failed, mine.asked.question.user_id) == ("champion", (), "u0")
    assert (theirs.slot, theirs.failed, theirs.asked.question.user_id) == ("champion", ("challenger",), "u2")


BROKEN_ROWS: dict[str, dict[str, Any]] = {
    "a figure is a text": {"user_orders": "many"},
    "a history is too short": {"history_orders": np.ones(1)},
    "a history is a number": {"history_item_ids": 3},
}


@pytest.mark.parametrize("fault", BROKEN_ROWS)
def test_a_broken_row_costs_its_own_customer_only(fault: str) -> None:
    """That one gets what is popular; those who asked beside them get the lists that they would get alone."""
    held, good = slots({"champion": FakeModel("7", by_habit)}), [asked("u0"), asked("u11")]
    row = rows()["u2"]
    broken = replace(
        asked("u2"), features=UserFeatures(OnlineRow({**row.values, **BROKEN_ROWS[fault]}, row.available_at), "fresh")
    )

    first, middle, last = decide(held, [good[0], broken, good[1]])

    assert (middle.slot, middle.rung, len(middle.ranked.item_ids)) == (None, "popular_items", 5)
    assert [told(first), told(last)] == [told(decide(held, [one])[0]) for one in good]


@pytest.mark.parametrize(
    ("age", "rung"),
    [
        (-timedelta(days=7), "fresh"),
        (RECOMMENDER.ttl, "fresh"),
        (RECOMMENDER.ttl + timedelta(microseconds=1), "no_features"),
    ],
)
def test_features_older_than_any_model_was_trained_on_are_none(age: timedelta, rung: str) -> None:
    """Up to three weeks before the index they count, and just beyond it the customer is one without a history."""
    states, index = shop()
    row = row_of(states, index, states.user_ids.tolist().index("u2"), index.as_of - age)
    held = slots({"champion": FakeModel("7", by_habit)})

    [answer] = decide(held, [Asked(Question("u2", 5, "all"), UserFeatures(row, "fresh"), REST)])

    assert answer.rung == rung
    same_as = asked("u2") if rung == "fresh" else asked("a stranger")
    assert told(answer) == told(decide(held, [same_as])[0])
    assert answer.to_dict("r1")["known"] == (rung == "fresh")


SHOPS = [(60, 80, 0), (10, 15, 1), (1, 30, 0), (4, 1, 2)]  # customers, items, seed
NUMBERS = st.lists(
    st.tuples(st.integers(-1, 30), st.integers(1, 40), st.sampled_from(["all", "new"])), min_size=1, max_size=6
)


@settings(max_examples=25)
@given(st.sampled_from(SHOPS), NUMBERS)
def test_the_lists_are_those_of_the_batch(size: tuple[int, int, int], wanted: list[tuple[int, int, str]]) -> None:
    """Whoever asks together and however many items they ask for: items and scores are the batch's, to the last bit."""
    states, index = shop(*size)
    held = Slots(1, index, {"champion": Model("1", ranker())}, Traffic())
    stranger = read_states({name: ["x" if name == "user_id" else None] for name in STATE_COLUMNS}, index)
    score = partial(score_pairs, ranker())
    questions, expected = [], []
    for number, k, scope in wanted:
        n = number % states.size
        row = None if number < 0 else row_of(states, index, n)
        user_id = "x" if row is None else states.user_ids[n]
        questions.append(Asked(Question(user_id, k, scope), UserFeatures(row, "fresh"), REST))
        lists = recommend(score, stranger if row is None else states, index, k=k)
        mine = lists[(lists["user_id"] == user_id) & (lists["scope"] == scope)]
        expected.append((mine["item_id"].tolist(), mine["score"].tolist()))

    assert [told(answer) for answer in decide(held, questions)] == expected


@pytest.mark.parametrize("fault", [None, "raises"])
def test_a_list_is_at_most_the_catalogue(fault: str | None) -> None:
    """Whoever asks for more items than there are gets each of them once, whoever answers."""
    index = shop()[1]
    held = slots({"champion": FakeModel("7", BROKEN[fault] if fault else by_sales)})
    [answer] = decide(held, [asked("u2", k=index.size + 20)])
    assert sorted(answer.ranked.item_ids) == index.item_ids.tolist()


def test_a_list_of_new_items_is_at_most_what_was_never_bought() -> None:
    """It ends where the catalogue holds no more of them."""
    index, bought = shop()[1], set(rows()["u2"].values["history_item_ids"])
    [answer] = decide(slots({"champion": FakeModel("7")}), [asked("u2", k=100, scope="new")])
    assert sorted(answer.ranked.item_ids) == sorted(set(index.item_ids.tolist()) - bought)


def test_each_customer_gets_as_many_items_as_they_asked_for() -> None:
    """Also when others in the batch want more."""
    answers = decide(slots({"champion": FakeModel("7")}), [asked("u2", k=k) for k in (1, 7, 3)])
    assert [len(answer.ranked.item_ids) for answer in answers] == [1, 7, 3]
    assert answers[0].ranked.item_ids == answers[1].ranked.item_ids[:1]


@pytest.mark.parametrize("user_id", ["u2", "a stranger", None])
@pytest.mark.parametrize("scores", [by_sales, fails])
def test_what_the_asker_sees_is_plain_json(user_id: str | None, scores: Callable[[FloatArray], FloatArray]) -> None:
    """No NumPy in it and no number that JSON does not know, whichever rung it is on."""
    [answer] = decide(slots({"champion": FakeModel("7", scores)}), [asked(user_id, k=100)])
    record = answer.to_dict("r1")
    assert only_plain(record)
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_asker_sees_where_the_list_comes_from() -> None:
    """The whole answer of a known customer, as it goes out."""
    [answer] = decide(slots({"champion": FakeModel("7")}), [asked("u2", k=2)])
    first, second = answer.ranked.item_ids
    assert answer.to_dict("r1") == {
        "request_id": "r1",
        "user_id": "u2",
        "known": True,
        "list": "all",
        "items": [
            {"rank": 1, "item_id": first, "score": answer.ranked.scores[0]},
            {"rank": 2, "item_id": second, "score": answer.ranked.scores[1]},
        ],
        "model_version": "7",
        "slot": "champion",
        "features": "fresh",
        "features_as_of": "2020-03-30",
        "index_as_of": "2020-03-30",
    }


class Worker:
    """A recommender with the shop's rows, its slots and its log."""

    def __init__(self, folder: Path, held: Slots) -> None:
        self.reader = FakeReader()
        self.slots: Slots | Exception = held
        self.log = PredictionLog(folder)
        self.recommender = Recommender(self._slots, self.reader.read, self.log)

    def _slots(self) -> Slots:
        if isinstance(self.slots, Exception):
            raise self.slots
        return self.slots

    async def answer(self, *questions: Question) -> list[dict[str, Any]]:
        """The answers, once whatever goes on in the shadow is logged, too."""
        answers = await self.recommender.answer(questions)
        await self.shadow()
        return answers

    async def shadow(self) -> None:
        """Wait until no other task is left."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 10)

    def logged(self) -> list[dict[str, Any]]:
        self.log.flush()
        assert (self.log.refused, self.log.dropped) == (0, 0)
        return read_predictions(self.log.folder).to_pylist()


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path, slots({"champion": FakeModel("7"), "challenger": FakeModel("8", by_habit)}))


def question(user_id: str | None, k: int = 3, scope: str = "all") -> Question:
    return Question(user_id, k, scope)


def by_user(logged: Sequence[dict[str, Any]], *columns: str) -> dict[str | None, tuple[Any, ...]]:
    return {row["user_id"]: tuple(row[name] for name in columns) for row in logged}


def test_each_answer_is_logged_as_what_it_was(worker: Worker) -> None:
    """Slot, slice, version and rung of canary, control and rest, of somebody nobody knows and of somebody without an id."""
    worker.slots = replace(worker.slots, traffic=CANARY_TRAFFIC)  # type: ignore[type-var]
    everybody = [*IN_CANARY, *IN_CONTROL, *IN_NEITHER, "u4", None]
    asyncio.run(worker.answer(*map(question, everybody)))
    logged = by_user(worker.logged(), "slot", "slice", "model_version", "rung", "known")
    assert logged == {
        **dict.fromkeys(IN_CANARY, ("challenger", "canary", "8", "fresh", True)),
        **dict.fromkeys(IN_CONTROL, ("champion", "control", "7", "fresh", True)),
        **dict.fromkeys(IN_NEITHER, ("champion", "rest", "7", "fresh", True)),
        "u4": ("champion", "rest", "7", "fresh", False),
        None: ("champion", "rest", "7", "fresh", False),
    }


def test_a_logged_answer_is_the_one_that_was_given(worker: Worker) -> None:
    """Its id, items and scores, and the moments that it was made from."""
    [answer] = asyncio.run(worker.answer(question("u2", scope="new")))
    [row] = worker.logged()
    assert row["request_id"] == answer["request_id"]
    assert row["list"] == "new"
    assert row["item_ids"] == [item["item_id"] for item in answer["items"]]
    assert row["scores"] == [item["score"] for item in answer["items"]]
    assert row["index_as_of"] == row["features_at"] == shop()[1].as_of.replace(tzinfo=UTC)
    assert row["latency_ms"] > 0


def test_a_canary_that_fails_is_logged_in_its_slice_with_who_stood_in(worker: Worker) -> None:
    """The customer belongs to the canary, whoever answers them: to count them elsewhere would flatter it."""
    worker.slots = slots({"champion": FakeModel("7"), "challenger": FakeModel("8", fails)}, CANARY_TRAFFIC)
    asyncio.run(worker.answer(question("u2")))
    assert by_user(worker.logged(), "slot", "slice", "model_version") == {"u2": ("champion", "canary", "7")}


def test_popular_items_are_logged_as_nobodys_answer(worker: Worker) -> None:
    """No slot and no version, on the last rung."""
    worker.slots = slots({"champion": FakeModel("7", fails)})
    [answer] = asyncio.run(worker.answer(question("u2")))
    assert (answer["slot"], answer["features"]) == (None, "popular_items")
    logged = by_user(worker.logged(), "slot", "slice", "model_version", "rung")
    assert logged == {"u2": ("none", "rest", None, "popular_items")}


def test_popular_items_are_new_where_new_ones_were_asked_for() -> None:
    """The last rung keeps the promise of the list, too: nothing that the customer has bought."""
    both = [asked("u2", 100, scope) for scope in ("all", "new")]
    everything, new = (set(told(answer)[0]) for answer in decide(slots({"champion": FakeModel("7", fails)}), both))
    row = both[0].features.row
    assert row is not None
    assert everything - new == set(row.values["history_item_ids"]) & everything != set()


def without_id(answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in answer.items() if name != "request_id"} for answer in answers]


def test_what_the_shadow_says_is_logged_and_never_told(worker: Worker) -> None:
    """The customers get the champion's lists, as without a shadow; the challenger's lie in the log under ids of their own."""
    asking = [question("u2"), question("u1", scope="new")]
    before = without_id(asyncio.run(worker.answer(*asking)))
    worker.logged()
    worker.slots = replace(worker.slots, traffic=SHADOW)  # type: ignore[type-var]

    answers = asyncio.run(worker.answer(*asking))

    assert without_id(answers) == before
    logged = worker.logged()[2:]
    told_ids = {answer["request_id"] for answer in answers}
    assert by_user([row for row in logged if row["request_id"] in told_ids], "slot", "slice", "model_version") == (
        dict.fromkeys(("u2", "u1"), ("champion", "rest", "7"))
    )
    shadow = [row for row in logged if row["request_id"] not in told_ids]
    assert by_user(shadow, "slot", "slice", "model_version") == (
        dict.fromkeys(("u2", "u1"), ("challenger", "shadow", "8"))
    )
    [alone] = decide(slots({"champion": FakeModel("8", by_habit)}), [asked("u2", k=3)])
    assert by_user(shadow, "item_ids")["u2"] == (alone.ranked.item_ids,)


@pytest.mark.parametrize("fault", [*BROKEN, "raises what nobody foresaw"])
def test_a_shadow_that_fails_changes_nothing(worker: Worker, fault: str) -> None:
    """The customers get their lists, and once the challenger is mended the shadow goes on."""
    before = without_id(asyncio.run(worker.answer(question("u2"))))
    broken = BROKEN.get(fault, raises(AttributeError("no such thing")))

    async def story() -> None:
        worker.slots = slots({"champion": FakeModel("7"), "challenger": FakeModel("8", broken)}, SHADOW)
        assert without_id(await worker.answer(question("u2"))) == before
        worker.slots = slots({"champion": FakeModel("7"), "challenger": FakeModel("8", by_habit)}, SHADOW)
        assert without_id(await worker.answer(question("u2"))) == before

    asyncio.run(story())
    shadow = [row for row in worker.logged() if row["slice"] == "shadow"]
    assert [row["model_version"] for row in shadow if row["slot"] == "challenger"] == ["8"]


def test_there_is_one_answer_to_each_question_in_their_order(worker: Worker) -> None:
    """However many they are, and whatever list each is about."""
    users = [*IN_CANARY, *IN_CONTROL, *IN_NEITHER, "a stranger"]
    asking = [question(users[n % 7], 1 + n % 9, ("all", "new")[n % 2]) for n in range(2 * TOGETHER + 5)]
    answers = asyncio.run(worker.answer(*asking))
    assert [(a["user_id"], len(a["items"]), a["list"]) for a in answers] == [(q.user_id, q.k, q.scope) for q in asking]
    assert len({answer["request_id"] for answer in answers}) == len(worker.logged()) == len(asking)


def test_who_asks_meanwhile_is_answered_together(worker: Worker) -> None:
    """Those who come while the first is at work wait for it, and then share the next batch of at most 16."""

    async def story() -> list[list[dict[str, Any]]]:
        first = asyncio.create_task(worker.recommender.answer([question("u0")]))
        while not worker.reader.batches:
            await asyncio.sleep(0)
        others = asyncio.gather(*(worker.recommender.answer([question(f"u{n}")]) for n in range(1, 21)))
        return [await first, *await others]

    answers = asyncio.run(asyncio.wait_for(story(), 10))
    assert [answer["user_id"] for [answer] in answers] == [f"u{n}" for n in range(21)]
    assert worker.reader.batches == [1, TOGETHER, 4]


def test_requests_that_are_still_on_their_way_share_the_batch(worker: Worker) -> None:
    """Each takes some rounds of the event loop from its socket to here; the first waits for three."""

    async def arriving(rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)
        await worker.recommender.answer([question(f"u{rounds}")])

    async def story() -> None:
        await asyncio.gather(*map(arriving, range(4)))

    asyncio.run(asyncio.wait_for(story(), 10))
    assert worker.reader.batches == [4]


def test_who_asks_again_at_once_is_answered(worker: Worker) -> None:
    """Also in the moment when the work for the first question is ending."""

    async def story() -> list[str]:
        found = []
        for user_id in ("u0", "u1", "u2"):
            [answer] = await worker.recommender.answer([question(user_id)])
            found.append(answer["user_id"])
        return found

    assert asyncio.run(asyncio.wait_for(story(), 10)) == ["u0", "u1", "u2"]


def test_an_overloaded_worker_gives_what_is_popular_and_catches_up(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After nothing but full batches for too long; once a batch is not full, or nobody asked for a while, lists are made again."""
    monkeypatch.setattr(recommender, "OVERLOADED_S", 0.05)
    read = worker.reader.read

    def reading(user_ids: Sequence[str]) -> list[UserFeatures]:
        time.sleep(0.1 if len(user_ids) == TOGETHER else 0)
        return read(user_ids)

    worker.recommender = Recommender(worker._slots, reading, worker.log)
    crowd = [question(f"u{n % 7}", 1 + n % 3) for n in range(2 * TOGETHER + 4)]

    async def story() -> list[dict[str, Any]]:
        answers = await worker.recommender.answer(crowd)
        await asyncio.sleep(0.1)
        return [*answers, *await worker.recommender.answer(crowd[:TOGETHER])]

    answers = asyncio.run(asyncio.wait_for(story(), 10))
    hasty = ["popular_items"] * TOGETHER
    assert [answer["features"] for answer in answers] == [
        *["fresh"] * TOGETHER, *hasty, *["fresh"] * 4, *["fresh"] * TOGETHER,
    ]  # fmt: skip
    assert [len(answer["items"]) for answer in answers] == [q.k for q in (*crowd, *crowd[:TOGETHER])]
    assert [row["slot"] for row in worker.logged()].count("none") == TOGETHER


def test_who_goes_away_costs_nobody_else(worker: Worker) -> None:
    """A customer who hangs up before their list is made leaves the others theirs, and is not logged as if they had seen it."""

    async def story() -> list[dict[str, Any]]:
        gone = asyncio.create_task(worker.recommender.answer([question("u0")]))
        stays = asyncio.create_task(worker.recommender.answer([question("u1")]))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert [answer["user_id"] for answer in asyncio.run(asyncio.wait_for(story(), 10))] == ["u1"]
    assert [row["user_id"] for row in worker.logged()] == ["u1"]


def test_nobody_waits_for_work_that_was_called_off(worker: Worker) -> None:
    """As a worker that is stopped does: whoever waits is told at once, not when their own patience ends."""

    async def story() -> None:
        asking = asyncio.create_task(worker.recommender.answer([question("u0"), question("u1")]))
        await asyncio.sleep(0)
        [work] = asyncio.all_tasks() - {asyncio.current_task(), asking}
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await asking

    asyncio.run(story())


def test_an_error_that_nobody_foresaw_leaves_nobody_waiting(worker: Worker) -> None:
    """All who waited are told of it, and the next question is answered as ever."""

    async def story() -> None:
        held, worker.slots = worker.slots, LookupError("nothing is released")
        asking = (worker.recommender.answer([question(f"u{n}")]) for n in range(TOGETHER + 3))
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["nothing is released"] * (TOGETHER + 3)
        worker.slots = held
        assert len(await worker.recommender.answer([question("u1")])) == 1

    asyncio.run(asyncio.wait_for(story(), 10))


def test_an_explained_answer_is_the_one_that_would_be_given(worker: Worker) -> None:
    """By the same slot and with the same list; nobody is shown it, so it is not logged."""
    worker.slots = replace(worker.slots, traffic=CANARY_TRAFFIC)  # type: ignore[type-var]
    explained, taken_s = worker.recommender.explain(question("u2"))
    assert (explained.slot, worker.logged()) == ("challenger", [])
    assert taken_s >= 0
    [answer] = asyncio.run(worker.answer(question("u2")))
    assert without_id([explained.to_dict("r1")]) == without_id([answer])
