"""Evidence of quality: what labels say about the scores, at the same ages as on the days it is compared with.

Labels of young payments are few, but not worthless: on clean days just as few were known at that age. So each window of ages
is compared with itself in the past, and nobody waits until the last label has come.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from monitoring.fraud.figures import Figure, Figures, log_ratio, share
from monitoring.fraud.ledger import Ledger
from training.fraud.examples import Decided, weights_of
from training.fraud.operation import OPERATION
from training.fraud.review_queue import in_queue

AGES = {"young": (3, 10), "middle": (5, 15), "mature": (14, 21)}
"""Days between a payment and now. Half of the chargebacks have come for the first, nearly all for the last."""
TOP, LOW = 0.99, 0.97
"""Quantiles of the score: above the first are those that are acted on, below the second those that nobody looks at."""


class Seen(NamedTuple):
    """Payments of some ages with what is known of them."""

    score: NDArray[np.float64]
    amount: NDArray[np.float64]
    fraud: NDArray[np.bool_]
    weight: NDArray[np.float64]
    day: NDArray[np.int64]
    looked_at: NDArray[np.bool_]
    """By any source."""
    reviewed: NDArray[np.bool_]
    """By an analyst."""
    paid: NDArray[np.bool_]


def seen(ledger: Ledger, as_of: int, ages: tuple[int, int]) -> Seen:
    """Payments so many days old, with the labels that had arrived."""
    rows = ledger.rows(as_of - ages[1], as_of - ages[0])
    decided = Decided(*(part[rows] for part in ledger.decided))
    reviewed = ledger.book.reviewed(as_of, rows)
    return Seen(
        score=ledger.score[rows],
        amount=np.nan_to_num(ledger.columns["amount"][rows]),
        fraud=ledger.book.fraud_known(as_of, rows),
        weight=weights_of(decided, reviewed, OPERATION.explored_share),
        day=ledger.day_of_rows(rows),
        looked_at=ledger.book.looked_at(as_of, rows),
        reviewed=reviewed,
        paid=~decided.blocked,
    )


def quality_figures(ledger: Ledger, as_of: int) -> Figures:
    """Realised quality at each age: precision, recall at the capacity, calibration high and low."""
    found: dict[str, Figure] = {}
    for age, days in AGES.items():
        rows = seen(ledger, as_of, days)
        known = np.isfinite(rows.score)
        if known.sum() < 500:
            continue
        rows = Seen._make(part[known] for part in rows)
        found |= {f"{age}.{name}": figure for name, figure in _figures(rows).items()}
    return found


def _figures(rows: Seen) -> Figures:
    expected = rows.score * rows.weight
    fraud = rows.fraud * rows.weight
    high, low = rows.score >= np.quantile(rows.score, TOP), rows.score < np.quantile(rows.score, LOW)
    frauds = int(rows.fraud.sum())
    queued = in_queue(rows.score * rows.amount, rows.day)
    lost = rows.fraud * rows.amount
    average_precision = (
        float(average_precision_score(rows.fraud, rows.score, sample_weight=rows.weight)) if frauds > 0 else math.nan
    )
    return {
        "average_precision": Figure(average_precision, 0.5 / math.sqrt(frauds + 1), frauds),
        "estimated_average_precision": Figure(_estimated_average_precision(rows.score)),
        "recall_at_capacity": share(float((rows.fraud & queued).sum()), frauds),
        "amount_recall": Figure(
            float(lost[queued].sum() / lost.sum()) if lost.sum() else math.nan, 0.5 / math.sqrt(frauds + 1)
        ),
        "precision_at_capacity": share(float((rows.fraud & queued).sum()), float(queued.sum())),
        "over_expected": log_ratio(float(fraud.sum()), float(expected.sum())),
        "over_expected_top": log_ratio(float(fraud[high].sum()), float(expected[high].sum())),
        "over_expected_low": log_ratio(float(fraud[low].sum()), float(expected[low].sum())),
        "frauds_low": share(float(rows.fraud[low].sum()), float(low.sum())),
        "fraud_rate": share(frauds, len(rows.fraud)),
    }


def _estimated_average_precision(score: NDArray[np.float64]) -> float:
    """Average precision as it would be if the scores were right; shown, never believed alone: it rises when they are wrong.

    Source: the idea of confidence-based performance estimation, NannyML.
    """
    ordered = np.sort(score)[::-1]
    precision = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return float((precision * ordered).sum() / max(ordered.sum(), 1e-12))
