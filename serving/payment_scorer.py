"""Score payments: read what is known, describe, score, decide, log, count. One batch goes from `score` to the bottom of this file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from feature_repo.card_features import describe
from feature_repo.card_online import windows_of
from serving import metrics
from serving.feature_reader import UserFeatures
from serving.fraud_slots import FraudSlots, FraudVersion
from serving.prediction_log import PredictionLog
from serving.questions import Payment
from serving.read_payment import Lack, ReadPayment
from serving.served_kind import MODEL_ERRORS
from serving.together import Together, Waiting
from training.fraud.model import FraudModel
from training.fraud.operation import OPERATION, OperatingPolicy, PaymentDecision
from training.scored_payments import Scored

WORKER = os.getpid()

ReadFeatures = Callable[[Sequence[int]], list[UserFeatures]]


@dataclass(frozen=True, slots=True)
class Unscored:
    """A payment that gets no score, and why: nothing is released, every model failed, or it is too old."""

    why: Literal["unreleased", "failed", "too_old"]
    said: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A payment with what was read and what the model said, and everything that is recorded about it."""

    read: ReadPayment
    features: NDArray[np.float32]  # FEATURES, as the model read them
    score: float
    decision: PaymentDecision
    model_version: str
    failed: str | None = None
    """The version that should have scored it; the one before stood in for it."""

    @property
    def lacks(self) -> tuple[Lack, ...]:
        """What is counted of it as less than usual."""
        return (*self.read.lacks, "stand_in") if self.failed else self.read.lacks

    @property
    def degraded(self) -> str | None:
        """What was less than usual, in words."""
        stood_in = (f"version {self.failed} failed, and the one before it stood in",) if self.failed else ()
        return "; ".join((*self.read.said, *stood_in)) or None

    def to_dict(self, request_id: str) -> dict[str, Any]:
        """What the asker sees."""
        payment, features_at = self.read.payment, self.read.features_at
        return {
            "request_id": request_id,
            "transaction_id": payment.transaction_id,
            "score": self.score,
            "decision": self.decision,
            "expected_loss": self.score * payment.amount,
            "model_version": self.model_version,
            "features": self.read.rung,
            "features_as_of": f"{features_at:%Y-%m-%d}" if features_at else None,
            "degraded": self.degraded,
        }


Answer = dict[str, Any] | Unscored


class PaymentScorer:
    """Scores with the models of the moment; those who ask while it is at work are scored together, next.

    Whatever the feature store does, there is a score.
    """

    def __init__(
        self,
        fraud: Callable[[], FraudSlots | None],
        read_customers: ReadFeatures,
        read_terminals: ReadFeatures,
        log: PredictionLog,
        policy: OperatingPolicy = OPERATION,
    ) -> None:
        self._fraud, self._log, self._policy = fraud, log, policy
        self._read_customers, self._read_terminals = read_customers, read_terminals
        self._together = Together(self._answer_some)

    async def score(self, payment: Payment) -> Answer:
        """What becomes of a payment, logged and counted, as the asker sees it."""
        [answer] = await self._together.answers([payment])
        return answer

    def _answer_some(self, waiting: Sequence[Waiting[Payment, Answer]]) -> None:
        fraud = self._fraud()
        if fraud is None:
            for w in waiting:
                w.answer.set_result(Unscored("unreleased"))
            return
        judged = judge(self._read([w.question for w in waiting]), fraud, self._policy)
        for w, one in zip(waiting, judged, strict=True):
            w.answer.set_result(one if isinstance(one, Unscored) else self._told(one, time.perf_counter() - w.since))

    def _read(self, payments: Sequence[Payment]) -> list[ReadPayment]:
        began = time.perf_counter()
        customers = self._read_customers([payment.customer_id for payment in payments])
        terminals = self._read_terminals([payment.terminal_id for payment in payments])
        metrics.SCORE_STEP_SECONDS.labels("features").observe(time.perf_counter() - began)
        return [ReadPayment(*read) for read in zip(payments, customers, terminals, strict=True)]

    def _told(self, judged: Judged, latency_s: float) -> dict[str, Any]:
        return judged.to_dict(self._record(judged, latency_s))

    def _record(self, judged: Judged, latency_s: float) -> str:
        """Log and count a score; returns the id by which it will be known."""
        request_id, payment, features_at = uuid4().hex, judged.read.payment, judged.read.features_at
        scored = Scored(
            request_id=request_id,
            at=datetime.now(UTC),
            transaction_id=payment.transaction_id,
            timestamp=payment.timestamp,
            model_version=judged.model_version,
            score=judged.score,
            blocked=judged.decision == "block",
            explored=judged.decision == "explore",
            rung=judged.read.rung,
            features_at=features_at.replace(tzinfo=UTC) if features_at else None,
            latency_ms=latency_s * 1000,
            worker=WORKER,
        )
        self._log.append((*scored, *judged.features.tolist()))
        _count(judged, latency_s)
        return request_id


def judge(asked: Sequence[ReadPayment], fraud: FraudSlots, policy: OperatingPolicy) -> list[Judged | Unscored]:
    """Describe and score payments by the functions of the batch, and decide about each."""
    refused = {number: Unscored("too_old", said) for number, one in enumerate(asked) if (said := one.refusal)}
    others = [one for number, one in enumerate(asked) if number not in refused]
    judged = iter(_judged(others, fraud, policy) if others else [])
    return [refused.get(number) or next(judged) for number in range(len(asked))]


def _judged(asked: Sequence[ReadPayment], fraud: FraudSlots, policy: OperatingPolicy) -> list[Judged | Unscored]:
    began = time.perf_counter()
    try:
        features = _described(asked)
    except MODEL_ERRORS:
        # One customer's row may be broken: the others must not pay for it, and this one is scored without.
        if len(asked) > 1:
            return [_judged([one], fraud, policy)[0] for one in asked]
        [one] = asked
        return [Unscored("failed")] if one.features_at is None else _judged([one.unread()], fraud, policy)
    found = _scored(features, fraud)
    metrics.SCORE_STEP_SECONDS.labels("score").observe(time.perf_counter() - began)
    if found is None:
        # One payment may be what no model can score, too.
        return [Unscored("failed")] if len(asked) == 1 else [_judged([one], fraud, policy)[0] for one in asked]
    version, scores = found
    failed = None if version is fraud.champion else fraud.champion.version
    return [
        Judged(one, row, score, policy.decide(one.payment.transaction_id, score), version.version, failed)
        for one, row, score in zip(asked, features, scores.tolist(), strict=True)
    ]


def _described(asked: Sequence[ReadPayment]) -> NDArray[np.float32]:
    """What the model reads of each: payments x FEATURES."""
    customers, terminals = zip(*(one.served for one in asked), strict=True)
    # Rows that are too old for their payment are out already, and what is young enough for one is so for the earliest.
    earliest = min(one.payment.timestamp for one in asked)
    return describe(_columns([one.payment for one in asked]), windows_of(customers, terminals, earliest))


def _columns(payments: Sequence[Payment]) -> dict[str, NDArray[Any]]:
    """What payments say of themselves, as a table."""
    return {
        "timestamp": np.array([payment.timestamp for payment in payments], "datetime64[us]"),
        "amount": np.array([payment.amount for payment in payments]),
        "category": np.array([payment.category for payment in payments], object),
        "channel": np.array([payment.channel for payment in payments], object),
        "distance_km": np.array([payment.distance_km for payment in payments]),
    }


def _scored(features: NDArray[np.float32], fraud: FraudSlots) -> tuple[FraudVersion, NDArray[np.float64]] | None:
    """The scores of the champion, or of the version before where it fails; None where that fails, too."""
    for version in fraud.held.values():
        try:
            return version, _probabilities(version.model, features)
        except MODEL_ERRORS:
            continue
    return None


def _probabilities(model: FraudModel, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Raises ValueError for scores that are none: a NaN would be blocked without a word."""
    scores = model.score(features)
    if scores.shape != (len(features),) or not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"These are no probabilities of {len(features)} payments: {scores}")
    return scores


def _count(judged: Judged, latency_s: float) -> None:
    metrics.SCORES.labels(judged.decision).inc()
    metrics.SCORE_SECONDS.observe(latency_s)
    for lack in judged.lacks:
        metrics.SCORES_DEGRADED.labels(lack).inc()
