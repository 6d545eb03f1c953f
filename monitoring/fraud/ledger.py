"""The tables as columns of one length, a row a transaction in order of time: any window of days is a slice of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo.card_features import FEATURES
from ingest.card_world import TRANSACTIONS
from monitoring.fraud.tables import Tables
from monitoring.fraud.typed import Typed, typed
from training.fraud.examples import Decided
from training.fraud.label_book import GOLD, LabelBook

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

EPOCH = date(1970, 1, 1)
AUDIT_REASONS = ("accused", "cleared", "random", "surprising")


class Batch(NamedTuple):
    """What was wrong with how a day's transactions were delivered."""

    missing: tuple[str, ...]
    retyped: tuple[str, ...]
    unreadable: Mapping[str, int]


class Release(NamedTuple):
    """A version, the day from which it was live, and what it replaced."""

    version: str
    day: int
    replaces: str | None


class LearnedFrom(NamedTuple):
    """The labels that a version was fitted on: rows of the ledger, and what they said."""

    rows: Ints
    fraud: Flags


@dataclass(frozen=True, eq=False)
class Ledger:
    """Everything known; days are counted since 1970. What arrives later than a moment is never read at that moment."""

    first_day: int
    ends: Ints
    """Where each day's rows end."""
    batches: tuple[Batch, ...]
    columns: Mapping[str, NDArray]
    """Of the contract, typed; numbers NaN, categories -1 and other texts None where missing."""
    categories: tuple[str, ...]
    """What the numbers in `columns["category"]` stand for."""
    offline: NDArray[np.float32] | None
    online: NDArray[np.float32] | None
    score: Floats
    version: NDArray
    decided: Decided
    shadows: Mapping[str, Floats]
    """Scores of every version, live or not, NaN where it did not score."""
    book: LabelBook
    audit_reason: NDArray[np.int8]
    """Numbers of AUDIT_REASONS, -1 for what was not audited."""
    releases: tuple[Release, ...]
    learned: Mapping[str, LearnedFrom]
    calendar: tuple[tuple[int, int, str], ...] | None

    @classmethod
    def of(cls, tables: Tables) -> Ledger:
        """Bring tables into one order. Never raises for rows that fit nowhere: they are counted."""
        days = sorted(tables.batches)
        first, last = _number(days[0]), _number(days[-1])
        read = {_number(day): typed(tables.batches[day]) for day in days}
        empty = Typed(TRANSACTIONS.empty_table(), (), (), {})
        every = [read.get(day, empty) for day in range(first, last + 1)]
        rows = pa.concat_tables([part.rows for part in every])
        codes = rows["category"].combine_chunks().dictionary_encode()
        numbers = pc.fill_null(codes.indices, -1).to_numpy(zero_copy_only=False)
        columns = {
            name: numbers if name == "category" else rows[name].to_numpy(zero_copy_only=False)
            for name in rows.column_names
        }
        ids = columns["transaction_id"].astype(np.int64)
        place = _Places(ids)
        live = tables.scores[tables.scores["role"] == "live"]
        versions = {str(name): part for name, part in tables.scores.groupby("model_version", sort=True)}
        labels, audits = tables.labels, tables.audits
        reason = np.full(len(ids), -1, np.int8)
        if audits is not None and len(audits):
            gold = audits[["transaction_id", "is_fraud", "arrived_at"]].assign(source=GOLD)
            labels = pd.concat([labels, gold], ignore_index=True)
            # The first audit of a payment is written last: a later one must not reach back.
            audits = audits.sort_values("arrived_at", ascending=False, kind="stable")
            row, there = place.of(audits["transaction_id"].to_numpy())
            reason[row[there]] = pd.Categorical(audits["reason"], categories=AUDIT_REASONS).codes[there]
        return cls(
            first_day=first,
            ends=np.cumsum([len(part.rows) for part in every]),
            batches=tuple(Batch(part.missing, part.retyped, part.unreadable) for part in every),
            columns=columns,
            categories=tuple(codes.dictionary.to_pylist()),
            offline=_features(tables.features_offline, place),
            online=_features(tables.features_online, place),
            score=place.spread(live, "score", np.nan),
            version=place.spread(live, "model_version", None),
            decided=Decided(place.spread(live, "blocked", False), place.spread(live, "explored", False)),
            shadows={name: place.spread(part, "score", np.nan) for name, part in versions.items()},
            book=LabelBook.of(ids, labels),
            audit_reason=reason,
            releases=_releases(tables.releases),
            learned=_learned(tables.training_labels, place),
            calendar=_calendar(tables.calendar),
        )

    def rows(self, first: int, last: int) -> slice:
        """The rows of the days from first to last (not itself)."""
        return slice(self._start(first), self._start(last))

    def _start(self, day: int) -> int:
        passed = int(np.clip(day - self.first_day, 0, len(self.ends)))
        return int(self.ends[passed - 1]) if passed else 0

    def event_on(self, day: int) -> str | None:
        """The festival or season of a day, as far as the calendar knows."""
        return next((name for first, last, name in self.calendar or () if first <= day <= last), None)

    @property
    def last_day(self) -> int:
        return self.first_day + len(self.ends)

    def day_of_rows(self, rows: slice) -> Ints:
        """The day of each row."""
        return self.first_day + np.searchsorted(self.ends, np.arange(rows.start, rows.stop), side="right")


class _Places:
    """Finds transactions by id."""

    def __init__(self, ids: Ints) -> None:
        self._ids, self._order = ids, np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]

    def of(self, wanted: NDArray) -> tuple[Ints, Flags]:
        """The row of each id, and whether there is one."""
        at = np.minimum(np.searchsorted(self._sorted, wanted), max(len(self._ids) - 1, 0))
        if not len(self._ids):
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
        return self._order[at], self._sorted[at] == wanted

    def spread(self, frame: pd.DataFrame, name: str, otherwise: object) -> NDArray:
        """A column of another table in the ledger's order."""
        values = frame[name].to_numpy()
        kind = np.result_type(values.dtype, type(otherwise)) if otherwise is not None else object
        spread = np.full(len(self._ids), otherwise, kind)
        row, there = self.of(frame["transaction_id"].to_numpy())
        spread[row[there]] = values[there]
        return spread


def _features(table: pa.Table | None, place: _Places) -> NDArray[np.float32] | None:
    if table is None:
        return None
    row, there = place.of(table["transaction_id"].to_numpy())
    found = np.full((len(place._ids), len(FEATURES)), np.nan, np.float32)
    for number, name in enumerate(FEATURES):
        if name in table.column_names:
            found[row[there], number] = pd.to_numeric(table[name].to_pandas(), errors="coerce").to_numpy(float)[there]
    return found


def _releases(frame: pd.DataFrame | None) -> tuple[Release, ...]:
    if frame is None:
        return ()
    found = [
        Release(str(version), _number(pd.Timestamp(at).date()), None if pd.isna(replaces) else str(replaces))
        for version, at, replaces in zip(frame["model_version"], frame["released_at"], frame["replaces"], strict=True)
    ]
    return tuple(sorted(found, key=lambda release: release.day))


def _learned(frame: pd.DataFrame | None, place: _Places) -> dict[str, LearnedFrom]:
    if frame is None:
        return {}
    found = {}
    for version, part in frame.groupby("model_version"):
        row, there = place.of(part["transaction_id"].to_numpy())
        found[str(version)] = LearnedFrom(row[there], part["is_fraud"].to_numpy(bool)[there])
    return found


def _calendar(frame: pd.DataFrame | None) -> tuple[tuple[int, int, str], ...] | None:
    if frame is None:
        return None
    return tuple(
        (_number(pd.Timestamp(a).date()), _number(pd.Timestamp(b).date()), str(name))
        for a, b, name in zip(frame["first_day"], frame["last_day"], frame["name"], strict=True)
    )


def _number(day: date) -> int:
    return (day - EPOCH).days
