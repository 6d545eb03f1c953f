"""A payment gets a score whatever the feature store does, and the answer, the log and the figures say how much was known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from feature_repo.card_features import CUSTOMER_WINDOWS, FEATURES, TERMINAL_WINDOWS
from feature_repo.definitions import CARDS
from serving import metrics, openapi
from serving.feature_reader import FeatureReader
from serving.fraud_slots import FraudSlots, FraudVersion
from serving.payment_scorer import Answer, PaymentScorer, Unscored
from serving.prediction_log import PredictionLog
from serving.questions import Payment
from serving.read_payment import LATEST, FraudRung, Lack
from tests.serving.small_issuer import (
    CUSTOMER,
    MIDNIGHT,
    NOON,
    PAYMENT,
    STRANGER,
    TERMINAL,
    FailingTrees,
    FakeCards,
    FakeTrees,
    row,
    scoring,
    version_scoring,
)
from tests.serving.small_shop import only_plain
from training.fraud.model import FraudModel
from training.fraud.operation import OPERATION
from training.scored_payments import SCHEMA, Scored, read_scored

LONG_AGO = MIDNIGHT - timedelta(days=30)


class Worker:
    """A scorer with a store that can be told to refuse, and its log."""

    def __init__(self, folder: Path) -> None:
        self.cards = FakeCards()
        self.log = PredictionLog(folder, schema=SCHEMA)
        customers, terminals = (FeatureReader(self.cards, key=key) for key in ("customer_id", "terminal_id"))
        self.fraud: FraudSlots | None = scoring(0.25)
        self.scorer = PaymentScorer(lambda: self.fraud, customers.read, terminals.read, self.log)

    def score(self, payment: Payment = PAYMENT, probability: float = 0.25) -> dict[str, Any]:
        self.fraud = scoring(probability)
        [answer] = self.answers(payment)
        assert not isinstance(answer, Unscored)
        return answer

    def answers(self, *payments: Payment) -> Sequence[Answer]:
        """The answers to some who ask at the same time."""

        async def ask() -> Sequence[Answer]:
            return await asyncio.gather(*map(self.scorer.score, payments))

        return asyncio.run(asyncio.wait_for(ask(), 10))

    def logged(self) -> list[dict[str, Any]]:
        self.log.flush()
        assert (self.log.refused, self.log.dropped) == (0, 0)
        return read_scored(self.log.folder).to_pylist()


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def test_an_answer_says_what_becomes_of_the_payment(worker: Worker) -> None:
    """Score, decision, expected loss, version, and how fresh what was known is; all of it documented."""
    answer = worker.score()
    assert only_plain(answer)
    assert len(answer.pop("request_id")) == 32
    assert answer == {
        "transaction_id": 1, "score": pytest.approx(0.25), "decision": "pay", "expected_loss": pytest.approx(10.0),
        "model_version": "1", "features": "fresh", "features_as_of": "2025-03-17", "degraded": None,
    }  # fmt: skip
    openapi.Score.model_validate({"request_id": "r", **answer})


@pytest.mark.parametrize(
    ("changed", "rung", "said"),
    [
        ({}, "fresh", None),
        ({"customer_id": STRANGER}, "some_features", "customer: the feature store knows none by this id"),
        ({"terminal_id": STRANGER}, "some_features", "terminal: the feature store knows none by this id"),
        ({"customer_id": STRANGER, "terminal_id": STRANGER}, "no_features", "customer: .*; terminal: "),
        ({"timestamp": MIDNIGHT + CARDS.ttl}, "fresh", None),
        ({"timestamp": NOON + CARDS.ttl}, "no_features", "is of 2025-03-17, too old for 2025-03-20"),
        ({"category": "spaceships"}, "fresh", "category: 'spaceships' is not one of groceries, "),
    ],
)
def test_the_rung_says_how_much_was_known(worker: Worker, changed: dict[str, Any], rung: str, said: str | None) -> None:
    """A stranger, an old row and a category that no model knows cost no payment its answer."""
    answer = worker.score(replace(PAYMENT, **changed))
    assert (answer["features"], worker.logged()[0]["rung"]) == (rung, rung)
    assert answer["score"] == pytest.approx(0.25)
    assert answer["degraded"] is None if said is None else re.search(said, answer["degraded"])


def test_a_store_that_is_gone_costs_no_answer(worker: Worker) -> None:
    """Who was known within the hour is scored by that; of anybody else nothing is known, and both are told and logged."""
    worker.score()
    worker.cards.refuses = True
    remembered, unknown = worker.score(), worker.score(replace(PAYMENT, customer_id=8, terminal_id=9))
    assert (remembered["features"], remembered["features_as_of"]) == ("stale_features", "2025-03-17")
    assert "does not answer" in remembered["degraded"]
    assert (unknown["features"], unknown["features_as_of"]) == ("no_features", None)
    assert "nothing is remembered" in unknown["degraded"]
    fresh, stale, blind = worker.logged()
    assert {name: stale[name] for name in FEATURES} == {name: fresh[name] for name in FEATURES}
    assert all(np.isnan(blind[name]) for name in (*CUSTOMER_WINDOWS, *TERMINAL_WINDOWS))
    assert blind["amount"] == 40.0


def test_what_is_logged_is_what_was_answered_and_read(worker: Worker) -> None:
    """The row holds the payment's moment, the answer, and the features as the model read them."""
    answer = worker.score(probability=0.75)
    [logged] = worker.logged()
    assert logged["request_id"] == answer["request_id"]
    assert (logged["transaction_id"], logged["timestamp"]) == (1, NOON)
    assert (logged["model_version"], logged["score"]) == ("1", answer["score"])
    assert (logged["blocked"], logged["explored"]) == (answer["decision"] == "block", answer["decision"] == "explore")
    assert logged["features_at"] == MIDNIGHT.replace(tzinfo=UTC)
    assert logged["latency_ms"] > 0
    assert [logged[name] for name in ("amount", "distance_km", "hour", "online")] == [40.0, 2.5, 12.0, 0.0]
    assert [logged[name] for name in CUSTOMER_WINDOWS] == list(row(CUSTOMER_WINDOWS).values.values())
    assert [logged[name] for name in TERMINAL_WINDOWS] == list(row(TERMINAL_WINDOWS).values.values())


def test_a_payment_that_is_asked_about_twice_is_decided_once(worker: Worker) -> None:
    """What would be blocked is blocked or explored by its id alone."""
    payments = [replace(PAYMENT, transaction_id=n) for n in range(60)]
    first, second = ([worker.score(p, 0.9)["decision"] for p in payments] for _ in range(2))
    assert first == second == [OPERATION.decide(n, 0.9) for n in range(60)]
    assert set(first) == {"block", "explore"}


def test_every_score_is_counted(worker: Worker) -> None:
    """By what became of it, and by what was missing."""
    counters = {
        "block or explore": lambda: sum(_count(metrics.SCORES, d) for d in ("block", "explore")),
        "no_features": lambda: _count(metrics.SCORES_DEGRADED, "no_features"),
        "unknown_category": lambda: _count(metrics.SCORES_DEGRADED, "unknown_category"),
    }
    before = {name: count() for name, count in counters.items()}
    stranger = replace(PAYMENT, customer_id=STRANGER, terminal_id=STRANGER, category="spaceships")
    worker.score(stranger, probability=0.9)
    assert {name: count() - before[name] for name, count in counters.items()} == dict.fromkeys(counters, 1)


@pytest.mark.parametrize(
    ("changed", "refuses", "counted"),
    [
        ({}, False, set()),
        ({}, True, {"stale_features", "store_silent"}),
        ({"customer_id": 8, "terminal_id": 9}, True, {"no_features", "store_silent"}),
        ({"customer_id": 8}, True, {"some_features", "store_silent"}),
        ({"customer_id": STRANGER}, False, {"some_features"}),
        ({"timestamp": NOON + CARDS.ttl}, False, {"no_features", "too_old"}),
        ({"timestamp": MIDNIGHT - timedelta(seconds=1)}, False, {"newer_windows"}),
        ({"category": "spaceships"}, False, {"unknown_category"}),
    ],
)
def test_why_less_is_known_is_counted(
    worker: Worker, changed: dict[str, Any], refuses: bool, counted: set[str]
) -> None:
    """A store that is silent and rows that are too old are told from strangers, whatever was remembered."""
    worker.score()
    worker.cards.refuses = refuses
    before = {why: _count(metrics.SCORES_DEGRADED, why) for why in get_args(Lack)}
    worker.score(replace(PAYMENT, **changed))
    assert {why for why in before if _count(metrics.SCORES_DEGRADED, why) > before[why]} == counted


def test_an_old_payment_says_that_its_windows_are_newer(worker: Worker) -> None:
    """Its own day may be among what is known of its customer."""
    answer = worker.score(replace(PAYMENT, timestamp=MIDNIGHT - timedelta(days=2)))
    assert (answer["features"], answer["features_as_of"]) == ("fresh", "2025-03-17")
    assert answer["degraded"] == "what is known is newer than the payment"


def test_a_payment_of_last_month_is_refused(worker: Worker) -> None:
    """With what to do; of one whose customer and terminal nobody knows, nothing can say how old it is."""
    oldest = replace(PAYMENT, timestamp=MIDNIGHT - LATEST)
    older = replace(PAYMENT, timestamp=MIDNIGHT - LATEST - timedelta(seconds=1))
    strangers = replace(older, customer_id=STRANGER, terminal_id=STRANGER)
    scored, refused, unknown = worker.answers(oldest, older, strangers)
    assert isinstance(scored, dict)
    assert isinstance(unknown, dict)
    assert isinstance(refused, Unscored)
    assert (refused.why, refused.said.split(": ")[0]) == ("too_old", "timestamp")
    assert "of 2025-02-14, more than 30 days before what is known, of 2025-03-17" in refused.said
    assert len(worker.logged()) == 2


@pytest.mark.parametrize("trees", [FailingTrees(), FakeTrees(float("nan"))], ids=["raises", "no number"])
def test_the_version_before_stands_in_for_one_that_fails(worker: Worker, trees: Any) -> None:
    """The answer and the log name who scored, the answer says for whom, and it is counted."""
    worker.fraud = FraudSlots(FraudVersion("2", FraudModel(trees)), version_scoring(0.25, "1"))
    before = _count(metrics.SCORES_DEGRADED, "stand_in")
    [answer] = worker.answers(PAYMENT)
    assert isinstance(answer, dict)
    assert (answer["score"], answer["model_version"]) == (pytest.approx(0.25), "1")
    assert answer["degraded"] == "version 2 failed, and the one before it stood in"
    assert worker.logged()[0]["model_version"] == "1"
    assert _count(metrics.SCORES_DEGRADED, "stand_in") == before + 1


def test_without_a_model_that_can_score_there_is_no_score(worker: Worker) -> None:
    """And nothing is logged: nobody decided anything."""
    broken = FraudModel(FailingTrees())
    worker.fraud = FraudSlots(FraudVersion("2", broken))
    assert worker.answers(PAYMENT) == [Unscored("failed")]
    worker.fraud = FraudSlots(FraudVersion("2", broken), FraudVersion("1", broken))
    assert worker.answers(PAYMENT) == [Unscored("failed")]
    worker.fraud = None
    assert worker.answers(PAYMENT) == [Unscored("unreleased")]
    assert worker.logged() == []


def test_payments_that_arrive_together_are_read_and_scored_together(worker: Worker) -> None:
    """One read of customers and one of terminals, and each gets the answer that it would get alone, in its own row of the log."""
    payments = [
        replace(PAYMENT, transaction_id=1),
        replace(PAYMENT, transaction_id=2, timestamp=NOON + CARDS.ttl),
        replace(PAYMENT, transaction_id=3, customer_id=STRANGER, amount=99.0),
        replace(PAYMENT, transaction_id=4, timestamp=MIDNIGHT - timedelta(days=1), category="spaceships"),
        replace(PAYMENT, transaction_id=5, channel="online"),
    ]
    together = worker.answers(*payments)
    assert worker.cards.batches == [("customer_id", 5), ("terminal_id", 5)]
    logged = worker.logged()
    alone = [worker.score(payment) for payment in payments]

    assert [_of_the_request(answer) for answer in together] == [_of_the_request(answer) for answer in alone]
    again = worker.logged()[5:]
    features = [[{name: row[name] for name in FEATURES} for row in rows] for rows in (logged, again)]
    assert str(features[0]) == str(features[1])  # NaN is equal to nothing


def _of_the_request(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, dict)
    return {name: value for name, value in answer.items() if name != "request_id"}


def test_what_breaks_one_payment_costs_no_other(worker: Worker) -> None:
    """A row that no model can read counts as unread, and a payment that no model can score is the only one without a score."""
    worker.cards.rows["customer_id", 8] = replace(row(CUSTOMER_WINDOWS), values={"customer_mean_amount": "much"})
    worker.fraud = FraudSlots(FraudVersion("2", FraudModel(FailingTrees(from_amount=1000.0))))
    good, unreadable, unscorable = worker.answers(
        PAYMENT, replace(PAYMENT, customer_id=8), replace(PAYMENT, amount=2000.0)
    )
    assert isinstance(good, dict)
    assert isinstance(unreadable, dict)
    assert (good["features"], unreadable["features"]) == ("fresh", "no_features")
    assert unscorable == Unscored("failed")


def _count(counter: Any, label: str) -> float:
    return float(counter.labels(label)._value.get())


def test_the_rungs_are_those_that_are_logged_and_documented() -> None:
    """Each is spelt out where it is needed."""
    assert get_args(openapi.FraudRung) == get_args(FraudRung) == get_args(get_type_hints(Scored)["rung"])


@pytest.mark.parametrize("known", [{}, {"customer_mean_amount": None}])
def test_a_known_customer_who_fell_silent_is_no_stranger(worker: Worker, known: dict[str, Any]) -> None:
    """Their row holds nulls, which the model reads as unknown; the store answered all the same."""
    nulls = replace(row(CUSTOMER_WINDOWS), values=dict.fromkeys(CUSTOMER_WINDOWS) | known)
    worker.cards.rows["customer_id", CUSTOMER] = nulls
    assert worker.score()["features"] == "fresh"
    assert np.isnan(worker.logged()[0]["customer_count_1d"])


def test_the_older_of_two_rows_says_how_old_they_are(worker: Worker) -> None:
    """A night in which only one view was written shows."""
    worker.cards.rows["terminal_id", TERMINAL] = row(TERMINAL_WINDOWS, MIDNIGHT - timedelta(days=1))
    assert worker.score()["features_as_of"] == "2025-03-16"
    worker.cards.rows["terminal_id", TERMINAL] = row(TERMINAL_WINDOWS, LONG_AGO)
    assert (answer := worker.score())["features_as_of"] == "2025-03-17"
    assert answer["features"] == "some_features"
