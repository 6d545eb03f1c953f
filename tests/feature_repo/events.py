"""Small logs of purchases for the feature tests, with the moment at which each row became known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pyarrow as pa
from hypothesis import strategies as st

from ingest.schema import INTERACTIONS, arrival_of, week_of

MONDAY = datetime(2011, 1, 24)
WEEK = timedelta(days=7)

Event = tuple[str, str, float, int]  # user, item, days before MONDAY, weeks by which the row came late

#: Up to forty purchases in the eight weeks around MONDAY, some of them known only weeks later.
LOGS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(-14, 42), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)


def interactions(events: Iterable[Event]) -> pa.Table:
    """The events as the lake holds them: each with the Monday on which it became available."""
    rows = []
    for user, item, days_before, weeks_late in events:
        moment = (MONDAY - timedelta(days=days_before)).replace(microsecond=0)
        rows.append(
            {
                "user_id": user, "item_id": item, "event": "purchase", "event_time": moment, "quantity": 2.0, "price": 1.5,
                "item_text": f"red {item}", "country": "France", "batch_id": "b",
                "available_at": arrival_of(week_of(moment)) + weeks_late * WEEK,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=INTERACTIONS)


def known_at(events: pa.Table, moment: datetime) -> pa.Table:
    """What the lake's snapshot of a moment holds of a log."""
    return events.filter([available <= moment for available in events["available_at"].to_pylist()])
