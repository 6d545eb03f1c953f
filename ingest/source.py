"""Where events come from: a source hands over one delivery for each covered week, on the Monday after it."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import pyarrow as pa

from ingest.contract import Contract


@dataclass(frozen=True)
class Delivery:
    """What a source handed over on one Monday about one week: rows exactly as published, nothing repaired."""

    source: str
    week: date  # the Monday of the week that the rows should describe
    arrived: datetime  # the Monday on which they landed; a redelivery lands later than week + 7 days
    rows: pa.Table


class Source(Protocol):
    """Anything that can be ingested; the lake knows no more about a source than this."""

    @property
    def name(self) -> str:
        """The name under which its batches are recorded."""
        ...

    @property
    def contract(self) -> Contract:
        """What the source promised about its rows, and how they become canonical interactions."""
        ...

    @property
    def version(self) -> str:
        """A name for what it holds now: another one once rows were added to weeks that were handed over before."""
        ...

    def arrivals(self) -> list[datetime]:
        """List every Monday on which something lands, first to last, weeks without a single row included."""
        ...

    def deliveries(self, arrived: datetime) -> list[Delivery]:
        """Hand over what landed on that Monday, in a fixed order; an empty list when nothing did."""
        ...
