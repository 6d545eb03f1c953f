"""What each source said about each transaction and when: one row a transaction, so that what was known at a moment is one comparison."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

GOLD = "audit"
CHARGEBACK = "chargeback"
NEVER = np.inf
EVERY = slice(None)


@dataclass(frozen=True, eq=False)
class Said:
    """What one source says about each transaction: 1 fraud, 0 good, -1 nothing; `at` in days since 1970, NEVER for nothing."""

    fraud: NDArray[np.int8]
    at: Floats
    contradicted_at: Floats
    """When the source first said the opposite: from then on it says nothing."""

    def by(self, as_of: float, rows: slice = EVERY) -> NDArray[np.int8]:
        """What it had said by a moment."""
        known = (self.at[rows] < as_of) & ~(self.contradicted_at[rows] < as_of)
        return np.where(known, self.fraud[rows], np.int8(-1))


@dataclass(frozen=True, eq=False)
class LabelBook:
    """All sources' labels of the same transactions, in the same order."""

    sources: Mapping[str, Said]
    rows: int
    unknown: int = 0
    """Labels of transactions that nobody knows."""
    contradictory: int = 0
    """Transactions about which one source says both; from then on what it says about them is left out."""

    @classmethod
    def of(cls, ids: Ints, labels: pd.DataFrame) -> LabelBook:
        """Take labels (transaction_id, source, is_fraud, arrived_at) for transactions with rising ids."""
        order = np.argsort(ids, kind="stable")
        found = np.searchsorted(ids, labels["transaction_id"].to_numpy(np.int64), sorter=order)
        row = order[np.minimum(found, len(ids) - 1)] if len(ids) else np.zeros(len(labels), np.int64)
        known = (ids[row] == labels["transaction_id"].to_numpy()) if len(ids) else np.zeros(len(labels), bool)
        fraud = labels["is_fraud"].to_numpy(np.int8)
        at = labels["arrived_at"].to_numpy("datetime64[us]").astype(np.int64) / 86_400e6
        names = labels["source"].to_numpy()
        sources, contradictory = {}, 0
        for name in pd.unique(names):
            mine = known & (names == name)
            said, contradicted = _said(len(ids), row[mine], fraud[mine], at[mine])
            sources[str(name)], contradictory = said, contradictory + contradicted
        return cls(sources, len(ids), int((~known).sum()), contradictory)

    @classmethod
    def with_gold(
        cls, ids: Ints, labels: pd.DataFrame, audits: pd.DataFrame, untrusted: Collection[str] = ()
    ) -> LabelBook:
        """Take labels without those of untrusted sources, and audits (transaction_id, is_fraud, arrived_at) as the gold source."""
        trusted = labels[~labels["source"].isin(list(untrusted))]
        gold = audits[["transaction_id", "is_fraud", "arrived_at"]].assign(source=GOLD)
        return cls.of(ids, pd.concat([trusted, gold], ignore_index=True))

    def said(self, source: str) -> Said:
        """What a source says; nothing about anything if it is not there."""
        nothing = Said(np.full(self.rows, -1, np.int8), np.full(self.rows, NEVER), np.full(self.rows, NEVER))
        return self.sources.get(source, nothing)

    def fraud_known(self, as_of: float, rows: slice = EVERY, *, without: tuple[str, ...] = ()) -> Flags:
        """What counts as fraud by a moment: what gold says, or else whether any other source says so."""
        gold = self.said(GOLD).by(as_of, rows)
        accused = np.zeros(len(gold), bool)
        for name, said in self.sources.items():
            if name != GOLD and name not in without:
                accused |= said.by(as_of, rows) == 1
        return np.where(gold >= 0, gold == 1, accused)

    def looked_at(self, as_of: float, rows: slice = EVERY, *, without: tuple[str, ...] = ()) -> Flags:
        """About which some source had said something by a moment."""
        every = [said.by(as_of, rows) >= 0 for name, said in self.sources.items() if name not in without]
        return np.any(every, axis=0) if every else np.zeros(self.rows, bool)[rows]

    def reviewed(self, as_of: float, rows: slice = EVERY) -> Flags:
        """Which some analyst had looked at by a moment: chosen by their scores, not because somebody called them fraud."""
        return self.looked_at(as_of, rows, without=(CHARGEBACK, GOLD))


def _said(rows: int, row: Ints, fraud: NDArray[np.int8], at: Floats) -> tuple[Said, int]:
    """The first label of each transaction, and when it was first contradicted."""
    first = Said(np.full(rows, -1, np.int8), np.full(rows, NEVER), np.full(rows, NEVER))
    order = np.argsort(-at, kind="stable")  # the earliest is written last
    first.fraud[row[order]], first.at[row[order]] = fraud[order], at[order]
    against = order[fraud[order] != first.fraud[row[order]]]
    first.contradicted_at[row[against]] = at[against]
    return first, len(np.unique(row[against]))
