"""Answer: route the customer, read their features, rank, log, count. One request goes from `answer` to the bottom of this file."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from feature_repo.definitions import RECOMMENDER
from serving import metrics
from serving.feature_reader import Rung, UserFeatures
from serving.prediction_log import PredictionLog
from serving.questions import Question
from serving.ranking import Prepared, Ranked, popular, prepare, rank, states_of
from serving.release import SlotName
from serving.routing import Route, route
from serving.served_kind import MODEL_ERRORS
from serving.slots import Slots
from serving.together import Together, Waiting
from training.predictions import Prediction

WORKER = os.getpid()
#: A slot that fails is answered for by another, in this order.
STAND_INS: tuple[SlotName, ...] = ("champion", "previous")
#: A worker that took nothing but full batches for so long has more to do than it can, because the other one died or the
#: machine is busy: it gives a batch what is popular, at a tenth of the work, and catches up instead of answering all too late.
#: How long each has waited would say it better, but whoever is not accepted yet waits in the kernel, where nobody sees it.
OVERLOADED_S = 0.5

ReadFeatures = Callable[[Sequence[str]], list[UserFeatures]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what was read about its customer and the slot that is to answer."""

    question: Question
    features: UserFeatures
    route: Route


@dataclass(frozen=True, eq=False)
class Answer:
    """A list for one customer, and everything that is recorded about how it came about."""

    asked: Asked
    ranked: Ranked
    slot: SlotName | None
    """Who answered: another than asked if that one failed, None if it took popular items."""

    model_version: str | None
    rung: Rung
    failed: tuple[SlotName, ...]
    index_as_of: datetime
    prepared: Prepared | None

    def to_dict(self, request_id: str) -> dict[str, Any]:
        """What the asker sees."""
        row, question = self.asked.features.row, self.asked.question
        return {
            "request_id": request_id,
            "user_id": question.user_id,
            "known": row is not None,
            "list": question.scope,
            "items": [
                {"rank": rank, "item_id": item_id, "score": score}
                for rank, (item_id, score) in enumerate(
                    zip(self.ranked.item_ids, self.ranked.scores, strict=True), start=1
                )
            ],
            "model_version": self.model_version,
            "slot": self.slot,
            "features": self.rung,
            "features_as_of": _day(row.available_at) if row else None,
            "index_as_of": _day(self.index_as_of),
        }


_Waiting = Waiting[Question, dict[str, Any]]


class Recommender:
    """Answers with the slots of the moment; those who ask while it is at work are answered together, next."""

    def __init__(self, slots: Callable[[], Slots], read_features: ReadFeatures, log: PredictionLog) -> None:
        self._slots, self._read_features, self._log = slots, read_features, log
        self._together = Together(self._answer_together)
        self._shadow: asyncio.Task[None] | None = None

    async def answer(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Answer some customers, in their order. Whatever fails on the way, each gets a list."""
        return await self._together.answers(questions)

    def explain(self, question: Question) -> tuple[Answer, float]:
        """The answer with its steps, unlogged: nobody is shown it. Returns it with the seconds that reading features took."""
        slots, began = self._slots(), time.perf_counter()
        features = self._read_features([question.user_id or ""])
        taken_s = time.perf_counter() - began
        [answer] = decide(slots, [Asked(question, features[0], route(question.user_id, slots.traffic))])
        return answer, taken_s

    def _answer_together(self, waiting: Sequence[_Waiting]) -> None:
        answer = self._answer_in_haste if self._together.busy_s > OVERLOADED_S else self._answer_some
        answer(waiting)

    def _answer_some(self, waiting: Sequence[_Waiting]) -> None:
        began = time.perf_counter()
        features = self._read_features([w.question.user_id or "" for w in waiting])
        metrics.STEP_SECONDS.labels("features", "any").observe(time.perf_counter() - began)
        slots = self._slots()
        asked = [
            Asked(w.question, read, route(w.question.user_id, slots.traffic))
            for w, read in zip(waiting, features, strict=True)
        ]
        for w, answer in zip(waiting, decide(slots, asked), strict=True):
            self._tell(w, answer)
        if slots.traffic.mode == "shadow" and "challenger" in slots.models and self._shadow is None:
            self._shadow = asyncio.get_running_loop().create_task(self._answer_in_shadow(slots, asked))

    def _answer_in_haste(self, waiting: Sequence[_Waiting]) -> None:
        slots = self._slots()
        for w in waiting:
            unread = UserFeatures(None, "popular_items")
            answer = _popular(slots, Asked(w.question, unread, route(w.question.user_id, slots.traffic)))
            self._tell(w, answer)

    def _tell(self, waiting: _Waiting, answer: Answer) -> None:
        waiting.answer.set_result(answer.to_dict(self._record(answer, time.perf_counter() - waiting.since)))

    async def _answer_in_shadow(self, slots: Slots, asked: Sequence[Asked]) -> None:
        """Ask the challenger the same once the answers are out; one batch at a time, those in between are let go."""
        await asyncio.sleep(0.001)
        began = time.perf_counter()
        try:
            for answer in decide(slots, [replace(a, route=Route("challenger", "shadow")) for a in asked]):
                self._record(answer, time.perf_counter() - began)
        finally:
            self._shadow = None

    def _record(self, answer: Answer, latency_s: float) -> str:
        """Log and count an answer; returns the id by which its outcome will be known."""
        asked, row, request_id = answer.asked, answer.asked.features.row, uuid4().hex
        self._log.append(
            Prediction(
                request_id=request_id,
                at=datetime.now(UTC),
                user_id=asked.question.user_id,
                slot=answer.slot or "none",
                slice=asked.route.slice,
                model_version=answer.model_version,
                list=asked.question.scope,  # type: ignore[arg-type]
                item_ids=answer.ranked.item_ids,
                scores=answer.ranked.scores,
                rung=answer.rung,
                known=row is not None,
                features_at=row.available_at.replace(tzinfo=UTC) if row else None,
                index_as_of=answer.index_as_of.replace(tzinfo=UTC),
                latency_ms=latency_s * 1000,
                worker=WORKER,
            )
        )
        _count(answer, latency_s)
        return request_id


def decide(slots: Slots, asked: Sequence[Asked]) -> list[Answer]:
    """An answer to each: of the slot it is routed to, or of a stand-in, or what is popular."""
    asked = [_without_expired(one, slots) for one in asked]
    try:
        states = states_of([a.question.user_id or "" for a in asked], [a.features.row for a in asked], slots.index)
        prepared = prepare(states, slots.index)
    except MODEL_ERRORS:
        # One customer's row may be broken: the others must not pay for it.
        return [_popular(slots, asked[0])] if len(asked) == 1 else [decide(slots, [one])[0] for one in asked]
    metrics.STEP_SECONDS.labels("candidates", "any").observe(prepared.seconds)
    answers: dict[int, Answer] = {}
    for group, members in _groups(asked).items():
        answers |= _ranked_by(slots, group, asked, prepared, members)
    return [answers[n] for n in range(len(asked))]


def _without_expired(asked: Asked, slots: Slots) -> Asked:
    """Features older than what any model was trained on are none."""
    row = asked.features.row
    if row is None or slots.index.as_of - row.available_at <= RECOMMENDER.ttl:
        return asked
    return replace(asked, features=UserFeatures(None, "no_features"))


def _groups(asked: Sequence[Asked]) -> dict[tuple[SlotName, str], list[int]]:
    groups: dict[tuple[SlotName, str], list[int]] = {}
    for number, one in enumerate(asked):
        groups.setdefault((one.route.slot, one.question.scope), []).append(number)
    return groups


def _ranked_by(
    slots: Slots, group: tuple[SlotName, str], asked: Sequence[Asked], prepared: Prepared, members: Sequence[int]
) -> dict[int, Answer]:
    """The answers of a slot to those routed to it, or of the first stand-in that can."""
    failed: list[SlotName] = []
    slot, scope = group
    k = max(asked[n].question.k for n in members)
    for to in dict.fromkeys((slot, *STAND_INS)):
        model = slots.model(to)
        if model is None:
            continue
        try:
            lists = rank(model.score, prepared, members, slots.index, k=k, scope=scope)
        except MODEL_ERRORS:
            failed.append(to)
            continue
        metrics.STEP_SECONDS.labels("score", to).observe(lists[0].seconds)
        return {
            n: Answer(
                asked=asked[n],
                ranked=_cut(ranked, asked[n].question.k),
                slot=to,
                model_version=model.version,
                rung=asked[n].features.rung,
                failed=tuple(failed),
                index_as_of=slots.index.as_of,
                prepared=prepared,
            )
            for n, ranked in zip(members, lists, strict=True)
        }
    return {n: replace(_popular(slots, asked[n]), failed=tuple(failed)) for n in members}


def _cut(ranked: Ranked, k: int) -> Ranked:
    return (
        ranked if len(ranked.item_ids) <= k else replace(ranked, item_ids=ranked.item_ids[:k], scores=ranked.scores[:k])
    )


def _popular(slots: Slots, asked: Asked) -> Answer:
    row = asked.features.row
    bought = row.values.get("history_item_ids", ()) if row and asked.question.scope == "new" else ()
    return Answer(
        asked=asked,
        ranked=popular(slots.index, k=asked.question.k, but=bought),
        slot=None,
        model_version=None,
        rung="popular_items",
        failed=(),
        index_as_of=slots.index.as_of,
        prepared=None,
    )


def _count(answer: Answer, latency_s: float) -> None:
    slot, slice_, endpoint = answer.slot or "none", answer.asked.route.slice, answer.asked.question.endpoint
    for failed in answer.failed:
        metrics.REQUESTS.labels(endpoint, failed, slice_, "error").inc()
    metrics.REQUESTS.labels(endpoint, slot, slice_, "ok").inc()
    metrics.SECONDS.labels(slot, slice_).observe(latency_s)
    if answer.rung != "fresh":
        metrics.DEGRADED.labels(answer.rung).inc()
    if answer.asked.features.row:
        stamp = answer.asked.features.row.available_at.replace(tzinfo=UTC).timestamp()
        metrics.FEATURE_AGE.set(time.time() - stamp)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
