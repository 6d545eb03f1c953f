"""Prometheus is told what a worker holds, of each log and each model by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving import metrics
from serving.fraud_slots import FraudSlots
from serving.prediction_log import PredictionLog
from serving.worker_metrics import WorkerMetrics
from tests.serving.small_issuer import scoring
from training.scored_payments import SCHEMA


@dataclass
class FakeFollower:
    """Holds nothing but the fraud model that it is given."""

    fraud: FraudSlots | None = None
    slots = release = None
    controller_silent_s = 0.0


@pytest.fixture
def follower() -> FakeFollower:
    return FakeFollower()


@pytest.fixture
def told(follower: FakeFollower, tmp_path: Path) -> WorkerMetrics:
    logs = {"predictions": PredictionLog(tmp_path / "a"), "payments": PredictionLog(tmp_path / "b", schema=SCHEMA)}
    return WorkerMetrics(follower, logs)  # type: ignore[arg-type]


def value(metric: Any, *labels: str) -> float:
    return float(metric.labels(*labels)._value.get())


def test_a_fraud_model_that_is_released_no_more_is_told_so(follower: FakeFollower, told: WorkerMetrics) -> None:
    """Its version goes to 0: a panel would else show for ever what scored last."""
    follower.fraud = scoring(0.5, "41")
    told.tell()
    assert value(metrics.FRAUD_VERSION, "champion", "41") == 1
    follower.fraud = None
    told.tell()
    assert value(metrics.FRAUD_VERSION, "champion", "41") == 0


def test_each_log_is_counted_by_itself(told: WorkerMetrics) -> None:
    """What one log loses or has written says nothing about the other."""
    before = {log: value(metrics.DROPPED, log) for log in ("predictions", "payments")}
    payments = told._logs["payments"]
    payments.append((1,))
    told.tell()
    assert (value(metrics.QUEUED, "payments"), value(metrics.QUEUED, "predictions")) == (1, 0)
    payments.close()
    payments.append((1,))
    told.tell()
    assert value(metrics.DROPPED, "payments") == before["payments"] + payments.dropped + payments.refused
    assert payments.dropped == 1
    assert value(metrics.DROPPED, "predictions") == before["predictions"]
