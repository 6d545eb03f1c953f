"""Read what is known of a customer, or of a terminal, without ever waiting long: fresh features, else those remembered, else none.

| rung | when |
|---|---|
| fresh | the store answered within its patience |
| stale_features | it did not, but it did for this key within the limit |
| no_features | neither: a model sees a customer without a history |
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from feature_repo.feast_store import OnlineRow
from ingest.errors import FeatureError

Id = str | int
Rung = Literal["fresh", "stale_features", "no_features", "popular_items"]


class OnlineRows(Protocol):
    """What is needed of a feature store."""

    def online_rows(self, key: str, ids: Sequence[Id]) -> list[OnlineRow | None]: ...


#: As long as the objective of the slowest percent; a store that is well answers in less than half a millisecond.
PATIENCE_S = 0.01


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """How long the reader remembers, and how soon it gives up."""

    stale_limit_s: float = 3600.0
    """How long remembered features may stand in for the store's. They change once a week, or once a day; an hour is an outage's length."""

    remembered: int = 5_000
    """Keys remembered by a worker; a customer of the shop takes about 4 kB."""

    failures_to_open: int = 3
    """In a row; then the store is left alone, so that a store that hangs does not hold every batch up."""

    open_s: float = 1.0
    """How long it is left alone before one request tries again."""


@dataclass(frozen=True, slots=True)
class UserFeatures:
    """What was read of one key, and on which rung; `row` is None for one that the store does not know."""

    row: OnlineRow | None
    rung: Rung


class FeatureReader:
    """Reads from a store, remembers what it read last, and lets a store that fails recover.

    The worker waits with it, so the store must not wait long: `FeastStore(patience_s=PATIENCE_S)` says what it bounds and what
    it does not. A thread with a deadline would bound all of it, for half a millisecond of every answer, and would give up
    features that are there whenever the machine is busy.
    """

    def __init__(
        self,
        store: OnlineRows,
        limits: ReaderLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        key: str = "user_id",
    ) -> None:
        self._store, self._limits, self._clock, self._key = store, limits or ReaderLimits(), clock, key
        self._remembered: OrderedDict[Id, tuple[float, OnlineRow | None]] = OrderedDict()
        self._failures, self._closed_until = 0, 0.0

    def read(self, ids: Sequence[Id]) -> list[UserFeatures]:
        """The features of some ids, in their order; never raises because of the store."""
        rows = self._fresh(ids)
        if rows is None:
            return [self._stale(one) for one in ids]
        now = self._clock()
        for one, row in zip(ids, rows, strict=True):
            self._remember(one, now, row)
        return [UserFeatures(row, "fresh") for row in rows]

    def _fresh(self, ids: Sequence[Id]) -> list[OnlineRow | None] | None:
        if self._failures >= self._limits.failures_to_open and self._clock() < self._closed_until:
            return None
        try:
            rows = self._store.online_rows(self._key, ids)
        except FeatureError:
            self._failures += 1
            self._closed_until = self._clock() + self._limits.open_s
            return None
        self._failures = 0
        return rows

    def _stale(self, one: Id) -> UserFeatures:
        read_at, row = self._remembered.get(one, (float("-inf"), None))
        if self._clock() - read_at > self._limits.stale_limit_s:
            return UserFeatures(None, "no_features")
        return UserFeatures(row, "stale_features")

    def _remember(self, one: Id, now: float, row: OnlineRow | None) -> None:
        self._remembered[one] = (now, row)
        self._remembered.move_to_end(one)
        if len(self._remembered) > self._limits.remembered:
            self._remembered.popitem(last=False)
