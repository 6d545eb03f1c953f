"""A payment gets a score whatever the feature store does, and the answer, the log and the figures say how much was known."""

from __future__ import annotations

import re
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
from serving.payment_scorer import FraudRung, Payment, PaymentScorer
from serving.prediction_log import PredictionLog
from tests.serving.small_issuer import (
    CUSTOMER,
    MIDNIGHT,
    NOON,
    PAYMENT,
    STRANGER,
    TERMINAL,
    FakeCards,
    row,
    scoring,
)
from tests.serving.small_shop import only_plain
from training.fraud.operation import OPERATION
from training.scored_payments import SCHEMA, Scored, read_scored

LONG_AGO = MIDNIGHT - timedelta(days=30)


class Worker:
    """A scorer with a store that can be told to refuse, and its log."""

    def __init__(self, folder: Path) -> None:
        self.cards = FakeCards()
        self.log = PredictionLog(folder, schema=SCHEMA)
        customers, terminals = (FeatureReader(self.cards, key=key) for key in ("customer_id", "terminal_id"))
        self.scorer = PaymentScorer(customers.read, terminals.read, self.log)

    def score(self, payment: Payment = PAYMENT, probability: float = 0.25) -> dict[str, Any]:
        return self.scorer.score(payment, scoring(probability))

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
