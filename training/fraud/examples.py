"""Which transactions a fraud model learns from, and with which weight: those whose labels have had time to come."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.fraud.model import FraudModel, FraudParams, fit_fraud_model

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

MATURE_DAYS = 14
"""By then 97 % of the chargebacks that ever come have come (a gamma of mean 7 days; docs/fraud.md)."""


class Decided(NamedTuple):
    """What was done with each transaction: `blocked`, or `explored`, that is, let through although it would have been blocked."""

    blocked: Flags
    explored: Flags


def weights_of(decided: Decided, reviewed: Flags, explored_share: float) -> Floats:
    """How many transactions each stands for when something is learned from labels or measured by them.

    What was blocked and reviewed by no analyst has no label and counts nothing; the explored ones stand for it. A chargeback
    is no review: it is the outcome, and whoever counted it as one would give explored frauds a tenth of their weight. Source:
    inverse propensity weights, Horvitz and Thompson 1952.
    """
    unseen = decided.blocked & ~reviewed
    stand_in = decided.explored & ~reviewed
    weights = np.ones(len(reviewed))
    weights[unseen] = 0.0
    weights[stand_in] = 1 / explored_share
    return weights


class Examples(NamedTuple):
    """Transactions to learn from: ids, features (rows x FEATURES), labels as known, weights and day numbers."""

    ids: Ints
    features: NDArray[np.float32]
    fraud: Flags
    weights: Floats
    days: Ints

    def fitted(self, *, seed: int, params: FraudParams | None = None) -> FraudModel:
        return fit_fraud_model(self.features, self.fraud, self.weights, self.days, params or FraudParams(), seed=seed)
