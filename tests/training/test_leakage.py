"""No training row holds what was not available at its moment: shown from deliveries, through the lake, to the arrays.

The world: eight customers buy ten items for six weeks. On top of the purchases that arrive on time come late ones, some
within the next delivery and some as a correction of their own, rows dated after their arrival, and now and then a
delivery that is refused and sent again. A model learns from the week of LABELS: features as of its Monday, labels as
known on a later one. An example costs about two seconds, so there are few, each with up to twenty late rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from feature_repo.feast_store import FeastStore
from ingest.lake import Lake
from ingest.schema import WEEK, arrival_of, week_of
from ingest.source import Delivery
from tests.ingest.example_deliveries import CONTRACT
from training.week_data import WeekData

MONDAYS = [datetime(2024, 1, 1) + n * WEEK for n in range(7)]
LABELS, END = MONDAYS[3], MONDAYS[-1]
CUSTOMERS = [f"customer {n}" for n in range(8)]
ITEMS = [f"item {n}" for n in range(10)]


@dataclass(frozen=True)
class Purchase:
    """One published row, and by how many weeks it missed the delivery in which it belongs (-1: it is ahead of it)."""

    user: str
    item: str
    at: datetime
    quantity: float = 1
    price: float = 2.5
    text: str = "red mug"
    weeks_late: int = 0
    apart: bool = False  # a late one comes in a batch of its own, not within that Monday's delivery

    @property
    def arrived(self) -> datetime:
        return arrival_of(week_of(self.at)) + self.weeks_late * WEEK


@dataclass(frozen=True)
class Batch:
    """What arrived at once about one week; a mangled one has lost a column and is refused whole."""

    arrived: datetime
    week: date
    purchases: tuple[Purchase, ...]
    mangled: bool = False

    @property
    def possible(self) -> Batch:
        """The batch without the rows that happen after they arrive."""
        return replace(self, purchases=tuple(p for p in self.purchases if p.at < self.arrived))

    @property
    def known(self) -> tuple[Purchase, ...]:
        """What anybody knows from its arrival on."""
        return () if self.mangled else self.possible.purchases

    def delivery(self) -> Delivery:
        rows = pa.table(
            {
                "user_id": [p.user for p in self.purchases],
                "item_id": [p.item for p in self.purchases],
                "timestamp": pa.array([p.at for p in self.purchases], pa.timestamp("us")),
                "event": ["purchase"] * len(self.purchases),
                "quantity": [p.quantity for p in self.purchases],
                "price": [p.price for p in self.purchases],
                "item_text": [p.text for p in self.purchases],
                "country": ["France"] * len(self.purchases),
            }
        )
        return Delivery("log", self.week, self.arrived, rows.drop_columns(["price"]) if self.mangled else rows)


def purchases_on_time() -> list[Purchase]:
    """Each week every customer buys three items, mostly the same ones again."""
    rng = np.random.default_rng(0)
    return [
        Purchase(
            user, ITEMS[(number + taste) % 10], monday + timedelta(hours=int(rng.integers(168))), price=1.5 + taste
        )
        for monday in MONDAYS[:-1]
        for number, user in enumerate(CUSTOMERS)
        for taste in rng.choice(5, 3, replace=False).tolist()
    ]


def world(others: Iterable[Purchase], sent_again: tuple[int, int] | None = None) -> list[Batch]:
    """All batches in the order of arrival; `sent_again` names a week that arrives mangled, and its delay in weeks."""
    batches: dict[tuple[datetime, date], tuple[Purchase, ...]] = {}
    for p in (*purchases_on_time(), *others):
        place = p.arrived, week_of(p.at if p.apart else p.arrived - WEEK)
        batches[place] = (*batches.get(place, ()), p)
    found = [Batch(*place, purchases) for place, purchases in batches.items()]
    if sent_again:
        week, delay = MONDAYS[sent_again[0]], sent_again[1]
        [mangled] = [b for b in found if (b.arrived, b.week) == (week + WEEK, week.date())]
        found.remove(mangled)
        found += [replace(mangled, mangled=True), replace(mangled, arrived=mangled.arrived + delay * WEEK)]
    return sorted(found, key=lambda batch: (batch.arrived, batch.week, batch.mangled))


#: In every drawn world, so that none is too tame: a purchase of the week before, and a label, each two weeks late.
BEFORE = Purchase("newcomer", "a novelty", MONDAYS[2] + timedelta(days=1, minutes=15), weeks_late=2, apart=True)
WITHIN = Purchase("newcomer", "item 0", LABELS + timedelta(days=1, minutes=15), weeks_late=2)

#: In the two weeks before the label week and in it, where they matter most.
MOMENTS = st.integers(168, 4 * 168 - 1).map(lambda hour: MONDAYS[0] + timedelta(hours=hour, minutes=30))
LATE = st.builds(
    Purchase,
    user=st.sampled_from([*CUSTOMERS, "newcomer"]),
    item=st.sampled_from([*ITEMS, "a novelty"]),
    at=MOMENTS,
    quantity=st.integers(1, 5).map(float),
    price=st.sampled_from([1.0, 2.5, 6.0]),
    text=st.sampled_from(["red mug", "blue mug", "green plate"]),
    weeks_late=st.integers(1, 3),
    apart=st.booleans(),
)
AHEAD = st.builds(
    Purchase,
    user=st.sampled_from(CUSTOMERS),
    item=st.sampled_from(ITEMS),
    at=st.integers(168, 5 * 168).map(lambda hour: MONDAYS[0] + timedelta(hours=hour)),
    weeks_late=st.just(-1),
)
#: At most two rows that are ahead: more in one delivery, and all of it is refused. The delivery of LABELS itself is never
#: refused: then there are no examples to compare.
WORLDS = st.builds(
    lambda late, ahead, sent_again: world([BEFORE, WITHIN, *late, *ahead], sent_again),
    st.lists(LATE, min_size=10, max_size=20, unique_by=lambda p: (p.user, p.item, p.at)),
    st.lists(AHEAD, min_size=1, max_size=2),
    st.none() | st.tuples(st.sampled_from([1, 3, 4]), st.integers(1, 3)),
)
#: Not shrunk: at two seconds a try that takes five minutes, and a world of twenty late rows can be read.
FEW = settings(
    max_examples=3,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def new_data(folder: Path) -> WeekData:
    store = FeastStore(folder / "features")
    store.apply()
    return WeekData(Lake(folder / "lake"), store)


def take_in(data: WeekData, batches: Iterable[Batch], *, after: datetime = datetime.min, until: datetime) -> None:
    for batch in batches:
        if after < batch.arrived <= until:
            data.lake.ingest(batch.delivery(), CONTRACT)


def purchases_known(batches: Sequence[Batch], at: datetime) -> set[Purchase]:
    return {p for batch in batches if batch.arrived <= at for p in batch.known}


def orders_seen(data: WeekData, monday: datetime) -> dict[str, int]:
    """How many purchases each customer's features of a Monday count, read through the point-in-time join."""
    rows = data.store.historical("user_id", data.known_users(monday), monday)
    return dict(zip(rows["user_id"], rows["user_purchases"].astype(int), strict=True))


def items_bought(data: WeekData, known_at: datetime) -> set[tuple[str, str]]:
    return set(data.bought_in(LABELS, known_at=known_at).itertuples(index=False, name=None))


def bits(value: Any) -> Any:
    """A value such that equal means equal to the bit."""
    if isinstance(value, csr_array):
        return [bits(part) for part in (value.data, value.indices, value.indptr)]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    return value.tolist() if isinstance(value, np.ndarray) else value


def differences(one: Any, other: Any) -> list[str]:
    """The names of the fields in which two results differ by at least a bit."""
    if one is None or other is None:
        return [] if one is other else ["one of them is None"]
    return [f.name for f in fields(one) if bits(getattr(one, f.name)) != bits(getattr(other, f.name))]


@FEW
@given(batches=WORLDS, labels_after=st.integers(1, 2))
def test_what_arrives_after_its_moment_changes_nothing(
    batches: list[Batch], labels_after: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Built on the day, where nothing later exists, or afterwards from the whole lake: index, customers, examples are equal."""
    known_at = LABELS + labels_after * WEEK

    on_the_day = new_data(tmp_path_factory.mktemp("day"))
    take_in(on_the_day, [batch.possible for batch in batches], until=LABELS)
    index, users = on_the_day.build_index(LABELS), [*on_the_day.known_users(LABELS), "a stranger"]
    states = on_the_day.states(users, index)
    whole, moment = on_the_day.whole(LABELS), on_the_day.feature_moment(LABELS)
    take_in(on_the_day, [batch.possible for batch in batches], after=LABELS, until=known_at)
    examples = on_the_day.examples(LABELS, known_at=known_at, seed=7, index=index)
    labels_known = on_the_day.labels_known(LABELS, known_at)

    afterwards = new_data(tmp_path_factory.mktemp("afterwards"))
    take_in(afterwards, batches, until=datetime.max)
    for later in (END, LABELS + WEEK):
        afterwards.ensure_features(later)
    assert [*afterwards.known_users(LABELS), "a stranger"] == users
    assert differences(afterwards.build_index(LABELS), index) == []
    assert differences(afterwards.states(users, index), states) == []
    assert differences(afterwards.examples(LABELS, known_at=known_at, seed=7), examples) == []
    assert (afterwards.whole(LABELS), afterwards.feature_moment(LABELS)) == (whole, moment)
    assert afterwards.labels_known(LABELS, known_at) == labels_known


@settings(FEW, max_examples=2)
@given(batches=WORLDS)
def test_a_monday_counts_what_had_happened_and_had_arrived(
    batches: list[Batch], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Features and labels hold every purchase from its arrival on and none before, counted by hand from the deliveries."""
    data = new_data(tmp_path_factory.mktemp("world"))
    take_in(data, batches, until=datetime.max)
    for monday in (LABELS, LABELS + WEEK, END):
        known = purchases_known(batches, monday)
        lines = {(p.user, p.item, p.at.date()) for p in known if p.at < monday}
        assert orders_seen(data, monday) == Counter(user for user, _, _ in lines)
        assert items_bought(data, monday) == {(p.user, p.item) for p in known if LABELS <= p.at < LABELS + WEEK}


def test_a_late_correction_is_seen_from_its_arrival_on(tmp_path: Path) -> None:
    """One purchase before the label week, one in it, both two weeks late: absent, then there, in features as in labels."""
    data = new_data(tmp_path)
    take_in(data, world([BEFORE, WITHIN]), until=datetime.max)

    assert (BEFORE.arrived, WITHIN.arrived) == (MONDAYS[5], END)
    assert [orders_seen(data, monday).get("newcomer") for monday in MONDAYS[3:]] == [None, None, 1, 2]
    assert ["a novelty" in data.build_index(monday).item_ids for monday in MONDAYS[3:]] == [False, False, True, True]
    assert [("newcomer", "item 0") in items_bought(data, monday) for monday in MONDAYS[4:]] == [False, False, True]
    early, late = (data.examples(LABELS, known_at=monday, seed=7) for monday in (MONDAYS[5], END))
    assert (early.users.max(), late.users.max()) == (len(CUSTOMERS) - 1, len(CUSTOMERS))
    assert early.bought.any()


def test_a_delivery_sent_again_mends_no_earlier_moment(tmp_path: Path) -> None:
    """Refused on its Monday, known two weeks later: until then a hole in features or labels, and looking back it stays one."""
    features, labels = new_data(tmp_path / "features"), new_data(tmp_path / "labels")
    take_in(features, world([], sent_again=(2, 2)), until=datetime.max)
    take_in(labels, world([], sent_again=(3, 2)), until=datetime.max)

    assert [features.whole(monday) for monday in MONDAYS[2:6]] == [True, False, True, True]
    assert features.feature_moment(LABELS) == MONDAYS[2]
    assert [labels.labels_known(LABELS, monday) for monday in MONDAYS[4:]] == [None, None, END]
    assert [len(items_bought(labels, monday)) for monday in MONDAYS[4:]] == [0, 0, 24]
