"""Publish a simulated online shop as a source, with the late rows, mistakes and corrections of a real feed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from ingest.contract import Contract, event_log_contract
from ingest.errors import SettingsError
from ingest.schema import WEEK, arrival_of
from ingest.shop_incidents import CORRECTED, DEFAULT_INCIDENTS, FAULTS, Export, FeedKind, Incident, strength_of
from ingest.shop_world import World, generator
from ingest.source import Delivery

#: Share of rows that reach the exporter only after the week's file has left.
LATE_SHARE = 0.01
#: Fewer customers or items leave weeks without a visit, and baskets without a choice.
FEWEST = 50


def shop_contract() -> Contract:
    """An event log whose exporter promises all columns: a file without prices or quantities is a broken one."""
    log = event_log_contract("shop", missing_ids_tolerated=0.01)
    return replace(log, columns={name: replace(column, required=True) for name, column in log.columns.items()})


class Shop:
    """A small online shop, the same for the same arguments in every process; it publishes last week on each Monday.

    `history_weeks` lie before `start`, `weeks` after it; incidents count from `start`. `rows_scale` makes the shop
    larger for measurements of growth: customers and rows grow with it, the catalogue with its square root.
    """

    name = "shop"

    def __init__(
        self,
        seed: int,
        start: date,
        *,
        customers: int = 400,
        items: int = 400,
        history_weeks: int = 20,
        weeks: int = 12,
        rows_scale: int = 1,
        incidents: tuple[Incident, ...] = DEFAULT_INCIDENTS,
    ) -> None:
        if start.weekday() != 0:
            raise SettingsError(f"The shop cannot start on {start}, a {start:%A}; weeks begin on Mondays, so give one.")
        if min(customers, items) < FEWEST or history_weeks < 1:
            raise SettingsError(
                f"{customers} customers, {items} items and {history_weeks} weeks of history make no shop; "
                f"give at least {FEWEST} customers and items, and one week."
            )
        self.contract = shop_contract()
        self._seed, self._start, self._incidents = seed, start, incidents
        self._weeks = [start + n * WEEK for n in range(-history_weeks, weeks)]
        self._happened: list[pa.Table] = []
        self._world = World(
            seed,
            customers=customers * rows_scale,
            items=round(items * rows_scale**0.5),
            begin=self._weeks[0],
            start=start,
            incidents=incidents,
        )

    @property
    def version(self) -> str:
        """The shop's past is written once."""
        return f"seed {self._seed}"

    def arrivals(self) -> list[datetime]:
        return [arrival_of(week) for week in self._weeks]

    def deliveries(self, arrived: datetime) -> list[Delivery]:
        """The file of the week just over; before it the right file of the week before, when a wrong one was sent."""
        if arrived not in self.arrivals():
            return []
        week = self.arrivals().index(arrived)
        regular = Delivery(self.name, self._weeks[week], arrived, self._sent(week))
        if not self._was_wrong(week - 1):
            return [regular]
        return [Delivery(self.name, self._weeks[week - 1], arrived, self._file(week - 1)), regular]

    def _sent(self, week: int) -> pa.Table:
        """What the exporter sends: the file, or what an incident makes of it."""
        rows = self._file(week)
        for kind, fault in FAULTS.items():
            if strength := self._strength(kind, week):
                rows = fault(Export(rows, self._file(week - 1), strength, generator(self._seed, week, kind)))
        return rows

    def _was_wrong(self, week: int) -> bool:
        return any(self._strength(kind, week) for kind in CORRECTED)

    def _strength(self, kind: FeedKind, week: int) -> float:
        return strength_of(kind, (self._weeks[week] - self._start) // WEEK, self._incidents) if week >= 0 else 0.0

    def _file(self, week: int) -> pa.Table:
        """The right file of a week: its rows without those that are late, after the late ones of the week before."""
        on_time = self._rows(week).filter(pc.invert(self._late(week)))
        return pa.concat_tables([self._rows(week - 1).filter(self._late(week - 1)), on_time]) if week else on_time

    def _late(self, week: int) -> pa.Array:
        return pa.array(generator(self._seed, week, "late rows").random(self._rows(week).num_rows) < LATE_SHARE)

    def _rows(self, week: int) -> pa.Table:
        """What happened in a week; weeks before it are lived through first, because today's habits come from them."""
        while len(self._happened) <= week:
            self._happened.append(self._world.live_one_week())
        return self._happened[week]
