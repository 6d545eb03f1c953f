"""Which transactions a fraud model learns from, and with which weight: those whose labels have had time to come."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.fraud.label_book import LabelBook
from training.fraud.model import FraudModel, FraudParams, fit_fraud_model

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

MATURE_DAYS = 14
"""By then 97 % of the chargebacks that ever come have come (a gamma of mean 7 days; docs/fraud.md)."""

NOBODY: Ints = np.empty(0, np.int64)


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

    def on(self, days: Ints) -> Examples:
        """Those of some days."""
        kept = np.isin(self.days, days)
        return Examples(self.ids[kept], self.features[kept], self.fraud[kept], self.weights[kept], self.days[kept])

    def fitted(self, *, seed: int, params: FraudParams | None = None) -> FraudModel:
        return fit_fraud_model(self.features, self.fraud, self.weights, self.days, params or FraudParams(), seed=seed)


class Payments(NamedTuple):
    """Payments as they were described and decided about: ids, features (rows x FEATURES), what was done, and day numbers."""

    ids: Ints
    features: NDArray[np.float32]
    decided: Decided
    days: Ints

    def without(self, ids: Ints) -> Payments:
        """All but these."""
        kept = ~np.isin(self.ids, ids)
        decided = Decided(*(flags[kept] for flags in self.decided))
        return Payments(self.ids[kept], self.features[kept], decided, self.days[kept])


def examples_of(
    payments: Payments,
    labels: pd.DataFrame,
    audits: pd.DataFrame,
    as_of: float,
    *,
    explored_share: float,
    untrusted: Collection[str] = (),
    held_out: Ints = NOBODY,
) -> Examples:
    """What can be learned of payments by a moment (days since 1970): the audit's truth, or else what any trusted source says.

    `labels` and `audits` are the tables; what arrived later, and what `untrusted` sources say, is as if it were not there.
    Payments in `held_out` (ids) are left out: who will be judged by them must not have learned from them.
    """
    kept = payments.without(held_out)
    book = LabelBook.with_gold(kept.ids, labels, audits, untrusted)
    weights = weights_of(kept.decided, book.reviewed(as_of), explored_share)
    return Examples(kept.ids, kept.features, book.fraud_known(as_of), weights, kept.days)
