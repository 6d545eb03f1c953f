"""Score a payment: read what is known, describe, score, decide, log, count. One request goes from `score` to the bottom of this file.

| rung | when |
|---|---|
| fresh | the store answered, and knows the customer and the terminal |
| stale_features | it did not answer, but it did for both within the hour |
| some_features | nothing is known of the customer, or of the terminal |
| no_features | nothing is known of either |
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from feature_repo.card_features import CATEGORIES, describe
from feature_repo.card_online import is_served, windows_of
from serving import metrics
from serving.feature_reader import UserFeatures
from serving.fraud_slots import FraudSlots
from serving.prediction_log import PredictionLog
from training.fraud.operation import OPERATION, OperatingPolicy, PaymentDecision
from training.scored_payments import Scored

WORKER = os.getpid()

FraudRung = Literal["fresh", "stale_features", "some_features", "no_features"]
ReadFeatures = Callable[[Sequence[int]], list[UserFeatures]]


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as the table `transactions` has it; `timestamp` is naive UTC."""

    transaction_id: int
    timestamp: datetime
    customer_id: int
    terminal_id: int
    amount: float
    category: str
    channel: str
    distance_km: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A payment with what was read and what the model said, and everything that is recorded about it."""

    payment: Payment
    customer: UserFeatures
    terminal: UserFeatures
    features: NDArray[np.float32]  # FEATURES, as the model read them
    score: float
    decision: PaymentDecision
    model_version: str

    @property
    def missing(self) -> Mapping[str, str]:
        """Of customer and terminal, those of whom nothing is known, and why."""
        of_each = {"customer": self.customer, "terminal": self.terminal}
        reasons = {name: _why_unknown(read, self.payment.timestamp) for name, read in of_each.items()}
        return {name: reason for name, reason in reasons.items() if reason}

    @property
    def rung(self) -> FraudRung:
        if missing := len(self.missing):
            return "no_features" if missing == 2 else "some_features"
        return "stale_features" if "stale_features" in (self.customer.rung, self.terminal.rung) else "fresh"

    @property
    def features_at(self) -> datetime | None:
        """The midnight at which the older of the windows ends; None without any."""
        rows = (self.customer.row, self.terminal.row)
        served = [row.available_at for row in rows if row and is_served(row, self.payment.timestamp)]
        return min(served, default=None)

    @property
    def degraded(self) -> str | None:
        """Why less was known than usually."""
        reasons = [f"{name}: {reason}" for name, reason in self.missing.items()]
        if self.rung == "stale_features":
            reasons.append("the feature store does not answer, and what it said within the hour was used")
        if self.payment.category not in CATEGORIES:
            reasons.append(f"category: {self.payment.category!r} is not one of {', '.join(CATEGORIES)}")
        return "; ".join(reasons) or None

    def to_dict(self, request_id: str) -> dict[str, Any]:
        """What the asker sees."""
        return {
            "request_id": request_id,
            "transaction_id": self.payment.transaction_id,
            "score": self.score,
            "decision": self.decision,
            "expected_loss": self.score * self.payment.amount,
            "model_version": self.model_version,
            "features": self.rung,
            "features_as_of": f"{self.features_at:%Y-%m-%d}" if self.features_at else None,
            "degraded": self.degraded,
        }


class PaymentScorer:
    """Scores with the models that it is handed; whatever the feature store does, there is a score."""

    def __init__(
        self,
        read_customers: ReadFeatures,
        read_terminals: ReadFeatures,
        log: PredictionLog,
        policy: OperatingPolicy = OPERATION,
    ) -> None:
        self._read_customers, self._read_terminals = read_customers, read_terminals
        self._log, self._policy = log, policy

    def score(self, payment: Payment, fraud: FraudSlots) -> dict[str, Any]:
        """What becomes of a payment, logged and counted, as the asker sees it."""
        began = time.perf_counter()
        [customer] = self._read_customers([payment.customer_id])
        [terminal] = self._read_terminals([payment.terminal_id])
        metrics.SCORE_STEP_SECONDS.labels("features").observe(time.perf_counter() - began)
        judged = judge(payment, customer, terminal, fraud, self._policy)
        return judged.to_dict(self._record(judged, time.perf_counter() - began))

    def _record(self, judged: Judged, latency_s: float) -> str:
        """Log and count a score; returns the id by which it will be known."""
        request_id, features_at = uuid4().hex, judged.features_at
        scored = Scored(
            request_id=request_id,
            at=datetime.now(UTC),
            transaction_id=judged.payment.transaction_id,
            timestamp=judged.payment.timestamp,
            model_version=judged.model_version,
            score=judged.score,
            blocked=judged.decision == "block",
            explored=judged.decision == "explore",
            rung=judged.rung,
            features_at=features_at.replace(tzinfo=UTC) if features_at else None,
            latency_ms=latency_s * 1000,
            worker=WORKER,
        )
        self._log.append((*scored, *judged.features.tolist()))
        _count(judged, latency_s)
        return request_id


def judge(
    payment: Payment, customer: UserFeatures, terminal: UserFeatures, fraud: FraudSlots, policy: OperatingPolicy
) -> Judged:
    """Describe and score a payment by the functions of the batch, and decide about it."""
    began = time.perf_counter()
    features = describe(_columns(payment), windows_of([customer.row], [terminal.row], payment.timestamp))
    score = float(fraud.champion.model.score(features)[0])
    metrics.SCORE_STEP_SECONDS.labels("score").observe(time.perf_counter() - began)
    decision = policy.decide(payment.transaction_id, score)
    return Judged(payment, customer, terminal, features[0], score, decision, fraud.champion.version)


def _columns(payment: Payment) -> dict[str, NDArray[Any]]:
    """What a payment says of itself, as a table of one row."""
    return {
        "timestamp": np.array([payment.timestamp], "datetime64[us]"),
        "amount": np.array([payment.amount]),
        "category": np.array([payment.category], object),
        "channel": np.array([payment.channel], object),
        "distance_km": np.array([payment.distance_km]),
    }


def _why_unknown(read: UserFeatures, as_of: datetime) -> str | None:
    """Why nothing is known of a customer or a terminal; None where something is."""
    if read.rung == "no_features":
        return "the feature store does not answer, and nothing is remembered"
    if read.row is None:
        return "the feature store knows none by this id"
    if not is_served(read.row, as_of):
        return f"what the feature store knows is of {read.row.available_at:%Y-%m-%d}, too old for {as_of:%Y-%m-%d}"
    return None


def _count(judged: Judged, latency_s: float) -> None:
    metrics.SCORES.labels(judged.decision).inc()
    metrics.SCORE_SECONDS.observe(latency_s)
    if judged.rung != "fresh":
        metrics.SCORES_DEGRADED.labels(judged.rung).inc()
    if judged.payment.category not in CATEGORIES:
        metrics.SCORES_DEGRADED.labels("unknown_category").inc()
