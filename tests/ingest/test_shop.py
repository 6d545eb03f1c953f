"""The simulated shop: reproducible to the byte, consistent in itself, and wrong only in the ways it declares."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ingest.check import content_hash
from ingest.errors import SettingsError
from ingest.lake import Lake
from ingest.schema import week_of
from ingest.shop import Shop
from ingest.shop_incidents import CORRECTED, DEFAULT_INCIDENTS, FEED_KINDS, WORLD_KINDS, FeedKind, Incident, Kind
from ingest.shop_world import PUBLISHED, World
from ingest.source import Delivery

START = date(2024, 3, 4)
HISTORY_WEEKS, WEEKS = 5, 6
FIRST = 2
"""The week after the start in which each incident under test begins."""


def shop(*incidents: Incident, weeks: int = WEEKS, seed: int = 3) -> Shop:
    return Shop(seed, START, customers=120, items=300, history_weeks=HISTORY_WEEKS, weeks=weeks, incidents=incidents)


@cache
def sent(*incidents: Incident) -> tuple[tuple[Delivery, ...], ...]:
    """All deliveries of a shop, Monday by Monday."""
    source = shop(*incidents)
    return tuple(tuple(source.deliveries(arrived)) for arrived in source.arrivals())


def regular(week: int, *incidents: Incident) -> pa.Table:
    """The regular file of a week after the start."""
    return sent(*incidents)[HISTORY_WEEKS + week][-1].rows


def purchases(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(rows["event"], "purchase"))


# --- reproducible ---------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    """Nothing depends on hash salts, global generators or the moment."""
    program = (
        "from datetime import date; from ingest.check import content_hash; from ingest.shop import Shop\n"
        "shop = Shop(3, date(2024, 3, 4), customers=120, items=300, history_weeks=5, weeks=6)\n"
        "print([content_hash(d.rows) for a in shop.arrivals() for d in shop.deliveries(a)])"
    )
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    here = [content_hash(delivery.rows) for monday in sent(*DEFAULT_INCIDENTS) for delivery in monday]
    assert elsewhere.strip() == str(here)


def test_another_seed_is_another_shop() -> None:
    """The seed is not decoration."""
    monday = shop().arrivals()[0]
    assert shop(seed=4).deliveries(monday)[0].rows != shop(seed=3).deliveries(monday)[0].rows


def test_a_week_does_not_know_the_weeks_after_it() -> None:
    """A longer replay begins with the shorter one, in whatever order the Mondays are asked for."""
    short = shop(weeks=1)
    last = short.arrivals()[-1]
    assert short.deliveries(last)[0].rows == regular(0)
    assert short.deliveries(short.arrivals()[0])[0].rows == regular(-HISTORY_WEEKS)


# --- calendar -------------------------------------------------------------------------------------------------------


def test_each_covered_week_arrives_on_the_monday_after_it() -> None:
    """History lies before the start, and the first Monday of the loop sees the week just over."""
    assert shop().arrivals()[0] == datetime(2024, 2, 5)
    assert shop().arrivals()[HISTORY_WEEKS - 1] == datetime(2024, 3, 4)
    assert len(shop().arrivals()) == HISTORY_WEEKS + WEEKS
    assert all(d.arrived == datetime.combine(d.week, datetime.min.time()) + timedelta(7) for (d,) in sent())


def test_nothing_arrives_between_mondays() -> None:
    """A day without a delivery is an empty list, not an error."""
    assert shop().deliveries(datetime(2024, 3, 5)) == []


def test_a_shop_that_cannot_be_is_refused() -> None:
    """Weeks begin on Mondays everywhere, and a shop needs somebody to sell something to."""
    with pytest.raises(SettingsError, match="Tuesday"):
        Shop(1, date(2024, 3, 5))
    with pytest.raises(SettingsError, match="at least 50"):
        Shop(1, START, customers=1)
    with pytest.raises(SettingsError, match="0 weeks of history"):
        Shop(1, START, history_weeks=0)


def test_one_row_in_a_hundred_comes_a_week_late_and_none_is_lost() -> None:
    """A file holds its own week, and what the tills of the week before had not sent."""
    late = total = 0
    for (delivery,) in sent()[1:]:
        weeks = [week_of(moment) for moment in delivery.rows["timestamp"].to_pylist()]
        assert set(weeks) == {delivery.week, delivery.week - timedelta(7)}
        late, total = late + weeks.count(delivery.week - timedelta(7)), total + len(weeks)
    assert 0.005 < late / total < 0.015

    world = World(3, customers=120, items=300, begin=sent()[0][0].week, start=START, incidents=())
    happened = pa.concat_tables([world.live_one_week() for _ in sent()])
    still_out = happened.num_rows - sum(delivery.rows.num_rows for (delivery,) in sent())
    assert 0 < still_out < 0.03 * sent()[-1][0].rows.num_rows


# --- the world ------------------------------------------------------------------------------------------------------


def test_items_sell_only_between_launch_and_retirement() -> None:
    """The catalogue turns over, and no purchase lies outside an item's life, a dropped supplier's items included."""
    world = World(
        3, customers=120, items=300, begin=START, start=START, incidents=(Incident("catalogue_change", first_week=8),)
    )
    weeks = [purchases(world.live_one_week()) for _ in range(16)]
    for week, rows in enumerate(weeks):
        item = np.array([int(item_id[1:]) for item_id in rows["item_id"].to_pylist()])
        assert (world.items.launched[item] <= week).all()
        assert (week < world.items.retired[item]).all()
    assert (world.items.launched > 0).sum() > 10
    assert (world.items.retired < 16).sum() > 10


def test_customers_come_back_for_what_they_bought() -> None:
    """About half of what a settled shop sells are repeats: the habit a recommender lives on."""
    assert 0.3 < repeat_share(WEEKS - 1) < 0.75


def test_a_larger_shop_has_more_customers_and_rows() -> None:
    """The growth bench multiplies rows by its scale, and the catalogue by its root."""
    small, large = (Shop(1, START, history_weeks=1, weeks=1, rows_scale=scale) for scale in (1, 4))
    monday = small.arrivals()[0]
    rows, more_rows = (source.deliveries(monday)[0].rows for source in (small, large))
    assert more_rows.num_rows / rows.num_rows == pytest.approx(4, rel=0.15)
    assert distinct(more_rows, "user_id") / distinct(rows, "user_id") == pytest.approx(4, rel=0.15)
    assert distinct(more_rows, "item_id") / distinct(rows, "item_id") == pytest.approx(2, rel=0.15)


# --- incidents ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*WORLD_KINDS, *FEED_KINDS])
def test_an_incident_changes_its_first_week_and_nothing_before(kind: Kind) -> None:
    """Calm and troubled shops are equal to the byte until something happens."""
    incident = Incident(kind, first_week=FIRST)
    assert sent(incident)[: HISTORY_WEEKS + FIRST] == sent()[: HISTORY_WEEKS + FIRST]
    assert regular(FIRST, incident) != regular(FIRST)


@pytest.mark.parametrize("kind", FEED_KINDS)
def test_a_fault_of_the_feed_leaves_the_world_alone(kind: Kind) -> None:
    """Once the exporter works again, its files are those of the calm shop."""
    incident = Incident(kind, first_week=FIRST)
    assert regular(FIRST + 1, incident) == regular(FIRST + 1)


@pytest.mark.parametrize("kind", CORRECTED)
def test_a_wrong_file_is_refused_and_the_right_one_follows_a_week_later(kind: FeedKind, tmp_path: Path) -> None:
    """The correction comes before the regular file, byte for byte what should have been sent, and is accepted."""
    incident = Incident(kind, first_week=FIRST)
    statuses = ingested(tmp_path, incident)
    correction, _ = sent(incident)[HISTORY_WEEKS + FIRST + 1]

    assert content_hash(correction.rows) == content_hash(regular(FIRST))
    assert correction.week == START + timedelta(weeks=FIRST)
    assert statuses == [*["accepted"] * 4, "quarantined", "accepted", "accepted"]


@pytest.mark.parametrize("kind", [*WORLD_KINDS, "added_column"])
def test_a_change_of_the_world_keeps_the_contract(kind: Kind, tmp_path: Path) -> None:
    """These files are right: what they tell of is the platform's to notice, not the contract's."""
    assert ingested(tmp_path, Incident(kind, first_week=FIRST)) == ["accepted"] * 6


def test_a_campaign_sells_cheap_things_that_customers_never_bought() -> None:
    """More rows, lower prices, few repeats; and afterwards habits return."""
    campaign = Incident("clearance_campaign", first_week=FIRST, weeks=2)
    assert regular(FIRST, campaign).num_rows > 1.5 * regular(FIRST).num_rows
    assert median_price(regular(FIRST, campaign)) < 0.6 * median_price(regular(FIRST))
    assert repeat_share(FIRST, campaign) < 0.3 * repeat_share(FIRST)
    assert repeat_share(FIRST + 2, campaign) > 0.8 * repeat_share(FIRST + 2)


def test_a_catalogue_change_takes_best_sellers_and_brings_their_likenesses() -> None:
    """A third of what sold last week is gone overnight, and much is bought that did not exist."""
    change = Incident("catalogue_change", first_week=FIRST)
    before, after = (purchases(regular(week, change))["item_id"] for week in (FIRST - 1, FIRST))
    assert pc.mean(pc.is_in(before, pc.unique(after)).cast("int8")).as_py() < 0.8
    assert pc.mean(pc.is_in(after, pc.unique(before)).cast("int8")).as_py() < 0.8


def test_bots_order_at_night_and_leave_the_customers_alone() -> None:
    """The rows of real customers in a bot week are those of the calm week; a week later nothing is left."""
    bots = Incident("bot_orders", first_week=FIRST)
    extra = regular(FIRST, bots).num_rows - regular(FIRST).num_rows
    hours = pc.hour(regular(FIRST, bots)["timestamp"])
    assert extra > 0.2 * regular(FIRST).num_rows
    assert pc.sum(pc.equal(hours, 3)).as_py() >= 0.95 * extra
    assert purchases(regular(FIRST + 2, bots)) == purchases(regular(FIRST + 2))


def test_a_price_rise_changes_prices_and_nothing_else() -> None:
    """Half of twelve percent in the first of two weeks, all of it from the second on."""
    rise = Incident("price_rise", first_week=FIRST, weeks=2)
    for week, factor in ((FIRST, 1.06), (FIRST + 1, 1.12), (FIRST + 3, 1.12)):
        calm, risen = purchases(regular(week)), purchases(regular(week, rise))
        assert risen.drop_columns("price") == calm.drop_columns("price")
        assert pc.sum(risen["price"]).as_py() / pc.sum(calm["price"]).as_py() == pytest.approx(factor, abs=0.005)


def test_faults_do_what_they_are_named_for() -> None:
    """Prices a hundredfold; a column retyped and one gone; clocks ahead; last week again; one column more."""
    calm = regular(FIRST)
    faulty = {kind: regular(FIRST, Incident(kind, first_week=FIRST)) for kind in FEED_KINDS}
    assert np.allclose(faulty["pence_feed"]["price"], 100 * calm["price"].to_numpy())
    assert faulty["schema_break"].schema.field("price").type == pa.string()
    assert "quantity" not in faulty["schema_break"].column_names
    assert pc.max(faulty["future_timestamps"]["timestamp"]).as_py() > datetime(2025, 3, 1)
    assert faulty["duplicate_delivery"] == regular(FIRST - 1)
    assert faulty["added_column"].drop_columns("channel") == calm


def test_strength_scales_what_happens() -> None:
    """Half a campaign sells fewer extra rows than a whole one."""
    calm, half, whole = (
        regular(FIRST).num_rows,
        *(regular(FIRST, Incident("clearance_campaign", first_week=FIRST, strength=s)).num_rows for s in (0.5, 1.0)),
    )
    assert calm < half < whole


@pytest.mark.parametrize(
    "wrong", [{"kind": "flood"}, {"kind": "pence_feed", "strength": 0}, {"kind": "pence_feed", "first_week": -1}]
)
def test_an_incident_that_cannot_happen_is_refused(wrong: dict) -> None:
    """A misspelt incident that never happens would make every drill pass."""
    with pytest.raises(SettingsError):
        Incident(**{"first_week": 0, **wrong})


def test_published_rows_have_the_promised_columns() -> None:
    """One shape for every calm file."""
    assert {delivery.rows.schema for (delivery,) in sent()} == {PUBLISHED}


def median_price(rows: pa.Table) -> float:
    return float(np.median(rows["price"].to_numpy()))


def repeat_share(week: int, *incidents: Incident) -> float:
    """Share of a week's customer-item pairs that had been bought before."""
    files = [purchases(monday[-1].rows) for monday in sent(*incidents)[: HISTORY_WEEKS + week + 1]]
    pairs = [set(zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True)) for rows in files]
    return len(pairs[-1] & set().union(*pairs[:-1])) / len(pairs[-1])


def distinct(rows: pa.Table, column: str) -> int:
    return int(pc.count_distinct(rows[column]).as_py())


def ingested(root: Path, *incidents: Incident) -> list[str]:
    """What became of the files of four weeks before the incident and of two from it on."""
    lake, contract = Lake(root), shop().contract
    first = HISTORY_WEEKS + FIRST - 4
    return [
        lake.ingest(delivery, contract).status for monday in sent(*incidents)[first : first + 6] for delivery in monday
    ]
