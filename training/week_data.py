"""Build what a week's model needs from the lake alone: feature rows, item index, customer states, labelled examples.

Everything here is a function of the lake and a Monday, so the weekly run and `mlops reproduce` share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.definitions import RECOMMENDER
from feature_repo.feast_store import FeastStore
from ingest.lake import Lake, read_interactions
from ingest.schema import PURCHASE
from training.recommender.examples import Examples, build_examples
from training.recommender.index import ItemIndex, build_index
from training.recommender.states import UserStates, read_states
from training.workspace import Workspace

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class WeekData:
    """The lake seen through the feature store: everything as it was known on some Monday."""

    lake: Lake
    store: FeastStore

    @classmethod
    def of(cls, ws: Workspace) -> WeekData:
        """The lake and the feature store of a workspace."""
        return cls(ws.lake, FeastStore(ws.features, ws.settings.feast_online))

    def interactions(self, as_of: datetime) -> pa.Table:
        """All events known at `as_of`."""
        return read_interactions(self.lake.root, self.lake.snapshot(as_of))

    def purchases(self, as_of: datetime) -> pa.Table:
        """The purchases known at `as_of`: user_id, item_id, event_time."""
        events = self.interactions(as_of)
        return events.filter(pc.equal(events["event"], PURCHASE)).select(["user_id", "item_id", "event_time"])

    def whole(self, as_of: datetime) -> bool:
        """Whether the newest week was in the lake on that Monday."""
        return self.lake.snapshot(as_of).contract_state == "accepted"

    def feature_moment(self, as_of: datetime) -> datetime:
        """The newest Monday up to `as_of` whose features have no hole in them.

        Features computed without the newest week look as if nobody had bought anything: rankers take that for a world
        they never saw, and lose far more than by features that are a week old and whole.
        """
        mondays = [as_of - k * WEEK for k in range(RECOMMENDER.ttl // WEEK)]
        return next((monday for monday in mondays if self.whole(monday)), as_of)

    def ensure_features(self, as_of: datetime) -> bool:
        """Write the feature rows of a Monday unless they are there; says whether it had to."""
        if self.store.has_rows(as_of):
            return False
        self.store.write_rows(self.interactions(as_of), as_of)
        return True

    def build_index(self, as_of: datetime) -> ItemIndex:
        """The item side as of a Monday."""
        self.ensure_features(as_of)
        items = self.store.historical("item_id", self.store.keys("item_features", as_of), as_of)
        return build_index(self.purchases(as_of).to_pandas(), items, as_of)

    def known_users(self, as_of: datetime) -> list[str]:
        """Every customer who had bought something by then, sorted."""
        self.ensure_features(as_of)
        return self.store.keys("user_features", as_of)

    def states(self, users: Sequence[str], index: ItemIndex) -> UserStates:
        """Customers as they were known at the index's moment; one who was not known then has an empty state."""
        return read_states(self.store.historical("user_id", users, index.as_of), index)

    def bought_in(self, week: datetime, *, known_at: datetime) -> pd.DataFrame:
        """Who bought what in the week that starts at `week`, as known at `known_at`: unique user_id, item_id."""
        purchases = self.purchases(known_at)
        inside = pc.and_(
            pc.greater_equal(purchases["event_time"], pa.scalar(week, pa.timestamp("us"))),
            pc.less(purchases["event_time"], pa.scalar(week + WEEK, pa.timestamp("us"))),
        )
        return purchases.filter(inside).select(["user_id", "item_id"]).to_pandas().drop_duplicates(ignore_index=True)

    def labels_known(self, week: datetime, as_of: datetime) -> datetime | None:
        """The first Monday up to `as_of` on which the week's events were in the lake; None while they are not.

        A week whose delivery was quarantined is a hole, not a week in which nobody bought anything.
        """
        mondays = pd.date_range(week + WEEK, as_of, freq="7D").to_pydatetime()
        return next((m for m in mondays if week.date() not in self.lake.snapshot(m).missing_weeks), None)

    def examples(
        self, week: datetime, *, known_at: datetime, seed: int, index: ItemIndex | None = None
    ) -> Examples | None:
        """The training rows of one label week; None when nobody bought anything, or its features would have a hole."""
        bought = self.bought_in(week, known_at=known_at)
        if not self.whole(week):
            return None
        self.ensure_features(week)
        if bought.empty or not self.store.keys("item_features", week):
            return None
        index = index or self.build_index(week)
        users = np.sort(bought["user_id"].unique()).tolist()
        return build_examples(self.states(users, index), index, bought, seed=seed)


def label_weeks(as_of: datetime, count: int) -> list[datetime]:
    """The Mondays of the weeks a candidate learns from: the newest ends where the judged week begins."""
    return [as_of - (k + 2) * WEEK for k in reversed(range(count))]
