"""The canonical interaction: what every source is mapped to, and the only shape that the lake holds."""

from datetime import date, datetime, timedelta

import pyarrow as pa

PURCHASE = "purchase"
RETURN = "return"

INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("event_time", pa.timestamp("us"), nullable=False),  # naive, meaning UTC
        pa.field("quantity", pa.float64(), nullable=False),
        pa.field("price", pa.float64()),  # of one unit; many logs do not carry it
        pa.field("item_text", pa.string()),
        pa.field("country", pa.string()),
        pa.field("available_at", pa.timestamp("us"), nullable=False),  # the Monday on which the batch arrived
        pa.field("batch_id", pa.string(), nullable=False),
    ]
)

WEEK = timedelta(days=7)


def week_of(moment: date) -> date:
    """Name the week that holds a moment: its Monday, 00:00 inclusive to the next Monday exclusive."""
    day = moment.date() if isinstance(moment, datetime) else moment
    return day - timedelta(days=day.weekday())


def arrival_of(week: date) -> datetime:
    """Give the moment at which a week's batch arrives: the Monday after it, 00:00."""
    return datetime(week.year, week.month, week.day) + WEEK
