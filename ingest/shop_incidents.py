"""Declare what goes wrong in the simulated shop, as data, and damage a feed the way real exporters do.

An incident is an honest change of the world or of the feed. Nothing in the rows names it: the platform has to find out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest.errors import SettingsError
from ingest.whole_files import write_json

WorldKind = Literal["clearance_campaign", "catalogue_change", "bot_orders", "price_rise"]
FeedKind = Literal["pence_feed", "schema_break", "future_timestamps", "duplicate_delivery", "added_column"]
Kind = WorldKind | FeedKind
WORLD_KINDS: tuple[WorldKind, ...] = get_args(WorldKind)
FEED_KINDS: tuple[FeedKind, ...] = get_args(FeedKind)


@dataclass(frozen=True)
class Incident:
    """One thing that happens to the shop; `first_week` 0 is the week that begins on the shop's start."""

    kind: Kind
    first_week: int
    weeks: int = 1
    strength: float = 1.0

    def __post_init__(self) -> None:
        kinds = (*WORLD_KINDS, *FEED_KINDS)
        if self.kind not in kinds:
            raise SettingsError(f"There is no incident {self.kind!r}; choose one of {', '.join(kinds)}.")
        if self.first_week < 0 or self.weeks < 1 or not 0 < self.strength <= 1:
            raise SettingsError(f"{self} cannot happen; give first_week >= 0, weeks >= 1 and 0 < strength <= 1.")

    def covers(self, week: int) -> bool:
        return self.first_week <= week < self.first_week + self.weeks


def strength_of(kind: Kind, week: int, incidents: tuple[Incident, ...]) -> float:
    """How strongly a kind of incident acts in a week; 0 when it does not."""
    return max((i.strength for i in incidents if i.kind == kind and i.covers(week)), default=0.0)


DEFAULT_INCIDENTS: tuple[Incident, ...] = (
    Incident("clearance_campaign", first_week=3, weeks=2, strength=0.8),
    Incident("pence_feed", first_week=7),
    Incident("catalogue_change", first_week=9),
)
"""The story of the twelve weeks, and what an honest platform makes of it; week n is seen on Monday n + 1.

- Weeks 0 to 2 are calm: a candidate is about as good as the champion, and most are promoted.
- Weeks 3 and 4, the campaign: the cheapest tenth of the shop is pushed at everybody, habits rest, and realised quality
  halves. No version has seen such a week, so none is much better, and on Monday 5 there is history enough to ask a
  person. On Monday 5, too, the candidate has learned from week 3 that cheap and never bought pays; judged on week 4 it
  is far better than the champion (+.12 to +.19 NDCG@10), which is what a promotion gate looks for.
- Week 5 is normal again, and the promoted version is far worse than the one before it (-.18 to -.22): on Monday 6 it
  is rolled back. The new candidate has learned from both campaign weeks and is judged on a normal one: refused.
- Week 6 is calm: habits return, and a candidate can be as good as the champion again.
- Week 7 comes in pence: on Monday 8 the contract is broken and training is held. The right file comes on Monday 9.
- Week 9, the catalogue change: nearly half of the best sellers are replaced by things nobody has bought yet, and
  realised quality falls by a third to a half for every version. No earlier version repairs that, so a person should be
  asked on Monday 10; but one may be better by .01, and with some seeds a rule that looks at releases first acts on it.
- Weeks 10 and 11 are calm: what was new in week 9 has been seen, and quality recovers step by step.

Figures: a reduced loop without the platform (NDCG rules only, 100 trees, no late rows), seeds 3, 4, 5 and 7.
"""


def write_incidents(path: Path, incidents: Sequence[Incident]) -> None:
    """Keep what will go wrong in a file, from which `read_incidents` has it back."""
    write_json(path, [asdict(incident) for incident in incidents])


def read_incidents(path: Path) -> tuple[Incident, ...]:
    """What goes wrong by such a file. Raises SettingsError when it is none, or names what cannot happen."""
    try:
        return tuple(Incident(**fields) for fields in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"{path} is no list of the shop's incidents: {error}. Write for example "
            '[{"kind": "catalogue_change", "first_week": 5, "weeks": 1, "strength": 0.5}].'
        ) from error


@dataclass(frozen=True)
class Export:
    """What an exporter has at hand when it goes wrong."""

    rows: pa.Table
    last_week: pa.Table
    strength: float
    rng: np.random.Generator

    def hit(self, share: float) -> NDArray[np.bool_]:
        """Choose a share of the rows."""
        chosen: NDArray[np.bool_] = self.rng.random(self.rows.num_rows) < share
        return chosen

    def replacing(self, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
        return self.rows.set_column(self.rows.column_names.index(name), name, values)


def _in_pence(export: Export) -> pa.Table:
    price = export.rows["price"].to_numpy()
    pence = np.where(export.hit(export.strength), np.round(price * 100), price)
    return export.replacing("price", pa.array(pence))


def _broken_schema(export: Export) -> pa.Table:
    """Prices become text with a currency sign; from strength one half the quantity is gone as well."""
    rows = export.replacing("price", pc.binary_join_element_wise("£", export.rows["price"].cast(pa.string()), ""))
    return rows.drop_columns(["quantity"]) if export.strength >= 0.5 else rows


def _in_the_future(export: Export) -> pa.Table:
    """Up to half of the rows were stamped by a machine whose clock is a year ahead."""
    time = export.rows["timestamp"]
    ahead = pc.add(time, pa.scalar(timedelta(days=364), pa.duration("us")))
    return export.replacing("timestamp", pc.if_else(pa.array(export.hit(0.5 * export.strength)), ahead, time))


def _last_week_again(export: Export) -> pa.Table:
    return export.last_week


def _with_a_new_column(export: Export) -> pa.Table:
    channel = np.where(export.hit(0.6), "web", "app")
    return export.rows.append_column("channel", pa.array(channel, pa.string()))


#: In the order in which they act when several fall into one week: a repeated file hides whatever else was wrong.
FAULTS: dict[FeedKind, Callable[[Export], pa.Table]] = {
    "pence_feed": _in_pence,
    "schema_break": _broken_schema,
    "future_timestamps": _in_the_future,
    "added_column": _with_a_new_column,
    "duplicate_delivery": _last_week_again,
}

#: The shop notices these within a week and sends the right file. A new column is no mistake: nothing is sent again.
CORRECTED: tuple[FeedKind, ...] = ("pence_feed", "schema_break", "future_timestamps", "duplicate_delivery")
