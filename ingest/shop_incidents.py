"""Declare what goes wrong in the simulated shop, as data, and damage a feed the way real exporters do.

An incident is an honest change of the world or of the feed. Nothing in the rows names it: the platform has to find out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.errors import SettingsError

WorldKind = Literal["clearance_campaign", "catalogue_change", "bot_orders", "price_rise"]
FeedKind = Literal["pence_feed", "schema_break", "future_timestamps", "duplicate_delivery", "added_column"]
Kind = Literal[WorldKind, FeedKind]


@dataclass(frozen=True)
class Incident:
    """One thing that happens to the shop; `first_week` 0 is the week that begins on the shop's start."""

    kind: Kind
    first_week: int
    weeks: int = 1
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(WorldKind) + get_args(FeedKind):
            raise SettingsError(f"Unknown incident {self.kind!r}; choose from {', '.join(get_args(WorldKind) + get_args(FeedKind))}.")
        if self.first_week < 0 or self.weeks < 1 or not 0 < self.strength <= 1:
            raise SettingsError(f"{self} cannot happen: first_week is at least 0, weeks at least 1, strength above 0 and at most 1.")

    def covers(self, week: int) -> bool:
        return self.first_week <= week < self.first_week + self.weeks


def strength_of(incidents: tuple[Incident, ...], kind: Kind, week: int) -> float:
    """How strongly a kind of incident acts in a week; 0 when it does not."""
    return max((incident.strength for incident in incidents if incident.kind == kind and incident.covers(week)), default=0.0)


# --- faults of the feed: published rows, share of them hit, and last week's rows -> what the exporter sends instead ------


def _in_pence(rows: pa.Table, strength: float, last_week: pa.Table, rng: np.random.Generator) -> pa.Table:
    price = rows["price"].to_numpy()
    hit = rng.random(rows.num_rows) < strength
    return _with(rows, "price", pa.array(np.where(hit, np.round(price * 100), price)))


def _broken_schema(rows: pa.Table, strength: float, last_week: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Prices become text with a currency sign; from strength one half the quantity is gone as well."""
    rows = _with(rows, "price", pc.binary_join_element_wise("£", rows["price"].cast(pa.string()), ""))
    return rows.drop_columns(["quantity"]) if strength >= 0.5 else rows


def _in_the_future(rows: pa.Table, strength: float, last_week: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Up to half of the rows were stamped by a machine whose clock is a year ahead."""
    late_clock = pa.array(rng.random(rows.num_rows) < 0.5 * strength)
    ahead = pc.add(rows["timestamp"], pa.scalar(timedelta(days=364), pa.duration("us")))
    return _with(rows, "timestamp", pc.if_else(late_clock, ahead, rows["timestamp"]))


def _sent_twice(rows: pa.Table, strength: float, last_week: pa.Table, rng: np.random.Generator) -> pa.Table:
    return last_week


def _with_a_new_column(rows: pa.Table, strength: float, last_week: pa.Table, rng: np.random.Generator) -> pa.Table:
    channel = np.where(rng.random(rows.num_rows) < 0.6, "web", "app")
    return rows.append_column("channel", pa.array(channel, pa.string()))


def _with(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


Fault = Callable[[pa.Table, float, pa.Table, np.random.Generator], pa.Table]

FAULTS: dict[FeedKind, Fault] = {
    "pence_feed": _in_pence,
    "schema_break": _broken_schema,
    "future_timestamps": _in_the_future,
    "added_column": _with_a_new_column,
    "duplicate_delivery": _sent_twice,
}

#: Somebody upstream notices these within a week and sends the right file. A new column is no mistake: nothing is sent again.
CORRECTED: tuple[FeedKind, ...] = ("pence_feed", "schema_break", "future_timestamps", "duplicate_delivery")

DEFAULT_INCIDENTS: tuple[Incident, ...] = (
    Incident("clearance_campaign", first_week=3, weeks=2),
    Incident("pence_feed", first_week=7),
    Incident("catalogue_change", first_week=9),
)
