"""A payment with what was read about its customer and its terminal: how much is known of it, what is lacking, and how that is said.

| rung | when |
|---|---|
| fresh | the store answered, and knows the customer and the terminal |
| stale_features | it did not answer, but it did for both within the hour |
| some_features | nothing is known of the customer, or of the terminal |
| no_features | nothing is known of either |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from feature_repo.card_features import CATEGORIES
from feature_repo.card_online import is_served
from feature_repo.feast_store import OnlineRow
from serving.feature_reader import UserFeatures
from serving.questions import Payment

FraudRung = Literal["fresh", "stale_features", "some_features", "no_features"]
#: What is counted of a payment that was scored with less than usual: its rung, if it is not fresh, and each cause.
Lack = Literal[
    "stale_features", "some_features", "no_features", "store_silent", "too_old", "newer_windows", "unknown_category",
    "stand_in",
]  # fmt: skip

#: A payment that is so much older than what is known is none that somebody waits for: a file that is sent once more, or a clock
#: that was never set. By the features' own midnight, as a replayed issuer's payments are all of the past.
LATEST = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ReadPayment:
    """A payment with what was read about its customer and its terminal."""

    payment: Payment
    customer: UserFeatures
    terminal: UserFeatures

    @property
    def served(self) -> tuple[OnlineRow | None, OnlineRow | None]:
        """The rows of customer and terminal that are young enough to say something."""
        customer, terminal = (
            read.row if read.row and is_served(read.row, self.payment.timestamp) else None
            for read in self._reads.values()
        )
        return customer, terminal

    @property
    def features_at(self) -> datetime | None:
        """The midnight at which the older of the windows ends; None without any."""
        return min((row.available_at for row in self.served if row), default=None)

    @property
    def rung(self) -> FraudRung:
        if missing := len(self._missing):
            return "no_features" if missing == 2 else "some_features"
        return "stale_features" if any(read.rung == "stale_features" for read in self._reads.values()) else "fresh"

    @property
    def refusal(self) -> str | None:
        """Why nobody should ask for its score any more."""
        newest = self._newest_at
        if newest is None or newest - self.payment.timestamp <= LATEST:
            return None
        return (
            f"timestamp: the payment is of {self.payment.timestamp:%Y-%m-%d}, more than {LATEST.days} days before what is known, "
            f"of {newest:%Y-%m-%d}. Score it by the batch, or send when it was made"
        )

    @property
    def lacks(self) -> tuple[Lack, ...]:
        """What is counted of it."""
        reads = self._reads.values()
        found: dict[Lack, bool] = {
            "store_silent": any(read.rung != "fresh" for read in reads),
            "too_old": any(read.row and not is_served(read.row, self.payment.timestamp) for read in reads),
            "newer_windows": self._is_newer,
            "unknown_category": self.payment.category not in CATEGORIES,
        }
        causes = tuple(lack for lack, is_so in found.items() if is_so)
        return causes if self.rung == "fresh" else (self.rung, *causes)

    @property
    def said(self) -> tuple[str, ...]:
        """Why less is known than usually, in words."""
        reasons = [f"{name}: {reason}" for name, reason in self._missing.items()]
        if self.rung == "stale_features":
            reasons.append("the feature store does not answer, and what it said within the hour was used")
        if self._is_newer:
            reasons.append("what is known is newer than the payment")
        if self.payment.category not in CATEGORIES:
            reasons.append(f"category: {self.payment.category!r} is not one of {', '.join(CATEGORIES)}")
        return tuple(reasons)

    def unread(self) -> ReadPayment:
        """The same payment, as if the store had not answered: its rows hold what no model can read."""
        nothing = UserFeatures(None, "no_features")
        return replace(self, customer=nothing, terminal=nothing)

    @property
    def _reads(self) -> Mapping[str, UserFeatures]:
        return {"customer": self.customer, "terminal": self.terminal}

    @property
    def _missing(self) -> Mapping[str, str]:
        """Of customer and terminal, those of whom nothing is known, and why."""
        reasons = {name: _why_unknown(read, self.payment.timestamp) for name, read in self._reads.items()}
        return {name: reason for name, reason in reasons.items() if reason}

    @property
    def _newest_at(self) -> datetime | None:
        return max((row.available_at for row in self.served if row), default=None)

    @property
    def _is_newer(self) -> bool:
        """Whether its own windows end after it: it came late, and its own day may be among what is known."""
        newest = self._newest_at
        return newest is not None and newest > self.payment.timestamp


def _why_unknown(read: UserFeatures, as_of: datetime) -> str | None:
    """Why nothing is known of a customer or a terminal; None where something is."""
    if read.rung == "no_features":
        return "the feature store does not answer, and nothing is remembered"
    if read.row is None:
        return "the feature store knows none by this id"
    if not is_served(read.row, as_of):
        return f"what the feature store knows is of {read.row.available_at:%Y-%m-%d}, too old for {as_of:%Y-%m-%d}"
    return None
