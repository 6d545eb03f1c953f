"""Draw the weekly gold audit: transactions that are looked at again, with all the time it takes, and labelled as they truly are."""

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
HIGH = 0.985


class AuditPlan(NamedTuple):
    """How many transactions a week, and why each; together about what four analysts look at in a day."""

    accused: int = 70
    """Called fraud within the last week: how many of them are?"""
    cleared: int = 70
    """High scores that nobody has called fraud: how many of them are?"""
    random: int = 140
    takes_days: int = 3


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
    parts = [
        _drawn(pool, reason, among, size, rng)
        for reason, among, size in (
            ("accused", pool.accused_lately, plan.accused),
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
