"""Draw the gold audit, three times a week: transactions that are looked at again, carefully, and labelled as they truly are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

AUDITS = pa.schema(
    [
        ("transaction_id", pa.int64()),
        ("reason", pa.string()),
        ("is_fraud", pa.bool_()),
        ("arrived_at", pa.timestamp("us")),
    ]
)
HIGH, LOW = 0.985, 0.97


class AuditPlan(NamedTuple):
    """How many transactions each time, and why each; in a week together about what five analysts look at in a day."""

    surprising: int = 14
    """Called fraud within the last week although their scores are low, the youngest first: what a model would learn anew."""
    accused: int = 24
    """Called fraud within the last week: how many of them are?"""
    cleared: int = 24
    """High scores that nobody has called fraud: how many of them are?"""
    random: int = 46
    weekdays: tuple[int, ...] = (0, 2, 4)
    """Rather than once a week: retraining waits for an audit of what began lately."""
    takes_days: int = 2


class Auditable(NamedTuple):
    """What an audit may draw from: transactions with their truth, and what is known of each; columns of one length."""

    ids: Ints
    fraud: Flags
    score: Floats
    age_days: Ints
    accused: Flags
    accused_lately: Flags


def draw_audit(pool: Auditable, midnight: datetime, plan: AuditPlan, rng: np.random.Generator) -> pa.Table:
    """The audit that is drawn at a midnight (AUDITS); its labels arrive when it is done."""
    cleared = ~pool.accused & (pool.age_days >= 3) & (pool.score >= np.quantile(pool.score, HIGH))
    a_week_old = (pool.age_days >= 7) & (pool.age_days < 14)
    unexpected = np.flatnonzero(pool.accused_lately & (pool.score < np.quantile(pool.score, LOW)))
    youngest = unexpected[np.lexsort((rng.random(len(unexpected)), pool.age_days[unexpected]))][: plan.surprising]
    surprising = np.isin(np.arange(len(pool.ids)), youngest)
    parts = [
        _drawn(pool, reason, among, size, rng)
        for reason, among, size in (
            ("surprising", surprising, plan.surprising),
            ("accused", pool.accused_lately & ~surprising, plan.accused),
            ("cleared", cleared, plan.cleared),
            ("random", a_week_old, plan.random),
        )
    ]
    drawn = pa.concat_tables(parts)
    at = midnight + timedelta(days=plan.takes_days)
    return drawn.append_column("arrived_at", pa.array([at] * len(drawn), pa.timestamp("us"))).cast(AUDITS)


def _drawn(pool: Auditable, reason: str, among: Flags, size: int, rng: np.random.Generator) -> pa.Table:
    found = np.flatnonzero(among)
    rows = np.sort(rng.choice(found, min(size, len(found)), replace=False))
    return pa.table(
        {
            "transaction_id": pool.ids[rows],
            "reason": pa.array([reason] * len(rows), pa.string()),
            "is_fraud": pool.fraud[rows],
        }
    )
