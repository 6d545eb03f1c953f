"""The set-based features of customers and items: Ibis expressions that DuckDB or Spark can run.

Each function takes the interactions known at `as_of` and returns one row per key, stamped `available_at = as_of`. Time is counted in whole
days back from `as_of` (day 0 is the last 24 hours), so the same expression serves any week and any weekday.

Sums run over integers only. Engines add in whatever order their threads finish, and float addition is not associative: a float sum would
differ in its last bits from run to run, and a model rebuilt from the same snapshot would not be the same model.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import log

import ibis
from ibis import _
from ibis.expr.types import Column, IntegerColumn, Table, Value

PURCHASE = "purchase"
WINDOWS_DAYS: Mapping[str, int] = {"1d": 1, "3d": 3, "1w": 7, "4w": 28, "26w": 182}
YEAR_DAYS = 364  # 52 whole weeks, so that a year ago is the same weekday
HISTORY_ITEMS = 10_000  # bounds the online row; the busiest customer has 2,000, and a "new" list must know them all
DECAY_PER_DAY = log(2) / 56  # half-life of eight weeks
FIXED_POINT = 1_000_000  # quantities and weights are summed as millionths, exactly


def user_features(interactions: Table, as_of: datetime) -> Table:
    """Describe how often, how recently and how broadly each customer buys; one row per `user_id`."""
    lines = _lines(interactions, as_of)
    orders = lines.group_by("user_id", "day").agg(items=_.count())
    per_item = lines.group_by("user_id", "item_id").agg(orders=_.count())
    rhythm = orders.group_by("user_id").agg(
        user_orders_4w=_.count(where=_.day < WINDOWS_DAYS["4w"]),
        user_orders_26w=_.count(where=_.day < WINDOWS_DAYS["26w"]),
        user_orders=_.count(),
        user_days_since_last=_.day.min(),
        user_tenure_days=_.day.max(),
        user_median_basket=_.items.median().cast("float64"),
    )
    breadth = per_item.group_by("user_id").agg(
        user_items=_.count(),
        user_repeat_share=_.count(where=_.orders > 1) / _.count(),
    )
    taste = lines.group_by("user_id").agg(
        user_purchases_4w=_.count(where=_.day < WINDOWS_DAYS["4w"]),
        user_purchases_26w=_.count(where=_.day < WINDOWS_DAYS["26w"]),
        user_purchases=_.count(),
        user_median_price=_.price.median().cast("float64"),
        user_median_quantity=_.quantity.median().cast("float64"),
        user_country=_latest("country"),
    )
    return stamp(rhythm.join(breadth, "user_id").join(taste, "user_id"), as_of)


def item_features(interactions: Table, as_of: datetime) -> Table:
    """Describe how each item sells now against before; one row per `item_id`."""
    lines = _lines(interactions, as_of)
    first_day = _.day.max().over(ibis.window(group_by=["user_id", "item_id"]))
    lines = lines.mutate(repeated=_.day < first_day)
    per_user = lines.group_by("item_id", "user_id").agg(orders=_.count())
    loyalty = per_user.group_by("item_id").agg(
        item_buyers=_.count(),
        item_repeat_share=_.count(where=_.orders > 1) / _.count(),
    )
    sales = lines.group_by("item_id").agg(
        **{f"item_purchases_{name}": _.count(where=_.day < days) for name, days in WINDOWS_DAYS.items()},
        **{
            f"item_buyers_{name}": _.user_id.nunique(where=_.day < days)
            for name, days in WINDOWS_DAYS.items()
            if days >= 7
        },
        item_purchases=_.count(),
        # Restocking by old buyers and discovery by new ones are different demands, and move apart as an item ages.
        item_repeats_1w=_.count(where=_.repeated & (_.day < WINDOWS_DAYS["1w"])),
        item_repeats_4w=_.count(where=_.repeated & (_.day < WINDOWS_DAYS["4w"])),
        # The four weeks that start now, a year ago: seasons come back, and so do the items that go with them.
        item_purchases_year_ago=_.count(where=(_.day < YEAR_DAYS) & (_.day >= YEAR_DAYS - WINDOWS_DAYS["4w"])),
        item_age_days=_.day.max(),
        item_days_since_last=_.day.min(),
        item_median_price=_.price.median().cast("float64"),
        item_last_price=_latest("price").cast("float64"),
        item_median_quantity=_.quantity.median().cast("float64"),
        item_text=_latest("item_text"),
    )
    return stamp(sales.join(loyalty, "item_id"), as_of)


def user_history(interactions: Table, as_of: datetime) -> Table:
    """List what each customer bought, most recent first, as parallel arrays; one row per `user_id`.

    `history_orders` counts the days on which the item was bought; `history_orders_since` the customer's own orders since then, which
    measures recency in the customer's rhythm; `history_weight` sums the purchases with a half-life of 56 days.
    """
    lines = _lines(interactions, as_of)
    newest_first = ibis.window(group_by="user_id", order_by="day")
    numbered = lines.mutate(order_number=ibis.dense_rank().over(newest_first))
    per_item = numbered.group_by("user_id", "item_id").agg(
        history_orders=_.count(),
        history_orders_since=_.order_number.min(),
        history_orders_since_first=_.order_number.max(),
        history_days_since_last=_.day.min(),
        history_days_since_first=_.day.max(),
        history_weight=_exact_sum((_.day * -DECAY_PER_DAY).exp()),
        history_quantity=_.quantity.median().cast("float64"),
    )
    sequence = [_.history_days_since_last, _.item_id]
    recent = per_item.mutate(position=ibis.row_number().over(ibis.window(group_by="user_id", order_by=sequence)))
    kept = recent.filter(_.position < HISTORY_ITEMS)
    columns = [name for name in kept.columns if name.startswith("history_")]
    arrays = {name: kept[name].collect(order_by=kept.position) for name in columns}
    return stamp(
        kept.group_by("user_id").agg(history_item_ids=kept.item_id.collect(order_by=kept.position), **arrays), as_of
    )


def _lines(interactions: Table, as_of: datetime) -> Table:
    """Reduce interactions before `as_of` to one line per customer, item and day: a line split over two invoices is one purchase."""
    known = interactions.filter(_.event == PURCHASE, _.event_time < as_of)
    dated = known.mutate(day=_days_before(known.event_time, as_of))
    return dated.group_by("user_id", "item_id", "day").agg(
        quantity=_exact_sum(_.quantity),
        price=_.price.min(),
        item_text=_.item_text.max(),
        country=_.country.max(),
    )


def _days_before(event_time: Column, as_of: datetime) -> IntegerColumn:
    """Count whole days from an event to `as_of`; both are naive UTC."""
    as_of_seconds = int(as_of.replace(tzinfo=UTC).timestamp())
    return ((as_of_seconds - 1 - event_time.epoch_seconds().cast("int64")) // 86_400).cast("int64")


def _exact_sum(value: Value) -> Value:
    return (value * FIXED_POINT).round().cast("int64").sum() / FIXED_POINT


def _latest(column: str) -> Value:
    """Take the newest known value; ties on a day go to the larger one, so that the answer never depends on row order."""
    return _[column].first(order_by=[_.day, _[column].desc()], where=_[column].notnull())


def stamp(rows: Table, as_of: datetime) -> Table:
    """Say of rows when they became available: what point-in-time joins rely on."""
    return rows.mutate(available_at=ibis.literal(as_of, type="timestamp(6)"))
