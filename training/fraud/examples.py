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


def weights_of(decided: Decided, looked_at: Flags, explored_share: float) -> Floats:
    """How many transactions each stands for when something is learned from labels or measured by them.

    What was blocked and looked at by nobody has no label and counts nothing; the explored ones stand for it. Source: inverse
    propensity weights, Horvitz and Thompson 1952.
    """
    unseen = decided.blocked & ~looked_at
    stand_in = decided.explored & ~looked_at
    weights = np.ones(len(looked_at))
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
