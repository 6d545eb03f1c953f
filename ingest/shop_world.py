"""Simulate the world of a small online shop one week at a time: what it sells, who comes, what they choose and why.

A customer chooses in proportion to exp(taste + habit + trend). All three can be learned: taste from what similar
customers buy and from the words of an item, habit from what the customer bought before and how long ago, trend from
what sells now. Every week draws from its own generator, so a week depends on the weeks before it and on nothing later.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.shop_incidents import Incident, strength_of

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PUBLISHED = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("event", pa.string()),
        ("quantity", pa.int64()),
        ("price", pa.float64()),
        ("item_text", pa.string()),
        ("country", pa.string()),
    ]
)

CATEGORIES = {
    "kitchen": ("mug", "teapot", "jug", "bowl", "plate"),
    "baking": ("cake tin", "cake case", "cookie cutter", "apron", "whisk"),
    "candles": ("candle", "tea light", "lantern", "candle holder", "wax melt"),
    "garden": ("planter", "watering can", "bird feeder", "trowel", "plant label"),
    "party": ("bunting", "paper napkin", "balloon", "party hat", "straw"),
    "stationery": ("notebook", "gift tag", "greeting card", "pencil", "wrapping paper"),
    "bags": ("lunch bag", "shopper bag", "wash bag", "purse", "rucksack"),
    "toys": ("puzzle", "skittles", "doll", "spinning top", "building blocks"),
    "bathroom": ("soap", "towel", "bath salts", "hook", "bath mat"),
    "decoration": ("photo frame", "clock", "wall art", "mirror", "doorstop"),
    "christmas": ("bauble", "wreath", "stocking", "advent calendar", "tree topper"),
    "textiles": ("cushion", "throw", "tea towel", "tablecloth", "doormat"),
}
#: Weeks until a buyer wants the same thing again: paper and soap run out, clocks do not.
REFILL_WEEKS = np.array([8, 4, 3, 8, 3, 2, 7, 9, 3, 10, 6, 8], np.float32)
#: How much a past purchase binds, for the same reason.
BINDING = np.array([0.6, 0.9, 1.0, 0.5, 1.0, 1.1, 0.7, 0.5, 1.0, 0.4, 0.7, 0.6], np.float32)
PEAK_WEEK = np.array([40, 44, 46, 18, 26, 34, 36, 47, 8, 12, 47, 2], np.float32)
COLOURS = ("red", "blue", "pink", "green", "white", "ivory", "black", "yellow")
MATERIALS = ("ceramic", "wooden", "enamel", "paper", "cotton", "glass", "metal")
COUNTRIES = ("United Kingdom", "Germany", "France", "Ireland", "Spain", "Netherlands")
COUNTRY_SHARES = (0.8, 0.06, 0.05, 0.04, 0.03, 0.02)

WEEKDAY = np.array([0.16, 0.17, 0.17, 0.18, 0.15, 0.06, 0.11])
HOUR = np.array([0] * 7 + [1, 3, 6, 9, 10, 11, 10, 9, 9, 7, 5, 4, 3, 3, 2, 0, 0], np.float64)
HOUR_OF_WEEK = np.outer(WEEKDAY, HOUR / HOUR.sum()).ravel() / WEEKDAY.sum()

NEVER = 1_000_000
TASTE_DIMENSIONS = 12
PRICE = TASTE_DIMENSIONS
"""The last taste dimension is the price level: cheap items suit some customers, expensive ones others."""


@dataclass(frozen=True)
class Items:
    """The catalogue, one array a property, all in order of launch."""

    taste: Floats
    category: Ints
    appeal: Floats
    trend: Floats
    price: Floats
    pack: Floats
    launched: Ints
    retired: Ints
    text: NDArray[np.object_]

    def live(self, week: int) -> Ints:
        return np.flatnonzero((self.launched <= week) & (week < self.retired))


@dataclass(frozen=True)
class Customers:
    """Everybody who ever had an account, one array a property, in order of joining."""

    taste: Floats
    visits_a_week: Floats
    basket_lines: Floats
    loyalty: Floats
    country: Ints
    left: Ints


@dataclass(frozen=True)
class Lines:
    """Order lines of a week, before they become published rows."""

    customer: Ints
    item: Ints
    minute: Ints
    quantity: Ints
    price: NDArray[np.float64]


Columns = TypeVar("Columns", Items, Customers, Lines)


def stack(first: Columns, second: Columns) -> Columns:
    names = [field.name for field in fields(first)]
    return type(first)(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))


def take(columns: Columns, rows: Ints) -> Columns:
    return type(columns)(*(getattr(columns, field.name)[rows] for field in fields(columns)))


class World:
    """The shop's state between two weeks; `live_one_week` moves it on and returns what happened."""

    def __init__(self, seed: int, *, customers: int, items: int, begin: date, start: date, incidents: tuple[Incident, ...]) -> None:
        self.seed, self.begin, self.incidents = seed, begin, incidents
        self.first_incident_week = (start - begin).days // 7
        self.week = 0
        self.arrivals_a_week = 0.012 * customers
        self.launches_a_week = 0.02 * items
        rng = self._rng("the first day")
        self.centres = rng.normal(0, 1, (len(CATEGORIES), TASTE_DIMENSIONS)).astype(np.float32)
        self.colours = rng.normal(0, 0.5, (len(COLOURS), TASTE_DIMENSIONS)).astype(np.float32)
        self.materials = rng.normal(0, 0.5, (len(MATERIALS), TASTE_DIMENSIONS)).astype(np.float32)
        self.items = self._new_items(items, rng, launched=-rng.integers(1, 50, items))
        self.customers = self._new_customers(customers, rng)
        self.times_bought = np.zeros((customers, items), np.uint8)
        self.last_bought = np.zeros((customers, items), np.int16)
        self.recent_sales = np.zeros(items, np.float32)
        self.last_lines: Lines | None = None

    def live_one_week(self) -> pa.Table:
        """Move on by a week; return its rows as they happened, in order of time."""
        rng = self._rng("a week")
        self._turn_over_catalogue(rng)
        self._turn_over_customers(rng)
        bought = self._shop(rng)
        returned = self._return(rng)
        bots = self._scripted_orders()
        self._remember(bought)
        self.week += 1
        return self._rows(self.week - 1, (bought, returned, bots))

    # --- supply -----------------------------------------------------------------------------------------------------

    def _turn_over_catalogue(self, rng: np.random.Generator) -> None:
        live = self.items.live(self.week)
        # Nothing is dropped in its first two months: the shop waits for it to sell.
        old = live[self.week - self.items.launched[live] > 8]
        self.items.retired[old[rng.random(old.size) < 0.024]] = self.week
        self.items.trend[:] = 0.93 * self.items.trend + rng.normal(0, 0.22, self.items.trend.size)
        self._launch(self._new_items(n := int(rng.poisson(self.launches_a_week)), rng, launched=np.full(n, self.week)))
        self._drop_a_supplier()

    def _drop_a_supplier(self) -> None:
        """A catalogue change: best sellers go overnight, and a new supplier's likenesses of them come, which nobody has bought yet."""
        strength = self._strength("catalogue_change")
        if not strength or self._strength("catalogue_change", self.week - 1):
            return
        rng = self._rng("catalogue_change")
        live = self.items.live(self.week)
        popular = live[np.argsort(-self.recent_sales[live], kind="stable")][: live.size // 2]
        gone = popular[rng.random(popular.size) < 0.45 * strength]
        likeness = take(self.items, gone)
        likeness.launched[:] = self.week
        likeness.taste[:] += rng.normal(0, 0.15, likeness.taste.shape)
        likeness.text[:] = [f"new {text}" for text in likeness.text]
        self.items.retired[gone] = self.week
        self._launch(likeness)
        # Who bought the old one reaches for its likeness: the habit is to the thing, not to its number.
        self.times_bought[:, -gone.size :] = self.times_bought[:, gone]
        self.last_bought[:, -gone.size :] = self.last_bought[:, gone]

    def _launch(self, items: Items) -> None:
        self.items = stack(self.items, items)
        self._make_room()

    def _new_items(self, n: int, rng: np.random.Generator, launched: Ints) -> Items:
        category = rng.integers(0, len(CATEGORIES), n)
        noun, colour, material = rng.integers(0, 5, n), rng.integers(0, len(COLOURS), n), rng.integers(0, len(MATERIALS), n)
        taste = self.centres[category] + self.colours[colour] + self.materials[material] + rng.normal(0, 0.35, (n, TASTE_DIMENSIONS))
        price_level = rng.normal(0, 1, n)
        names = list(CATEGORIES)
        text = [
            f"{COLOURS[c]} {MATERIALS[m]} {CATEGORIES[names[k]][j]} {names[k]}"
            for c, m, k, j in zip(colour, material, category, noun, strict=True)
        ]
        return Items(
            taste=np.column_stack([taste, price_level]).astype(np.float32),
            category=category,
            appeal=rng.normal(0, 0.7, n).astype(np.float32),
            trend=rng.normal(0, 0.5, n).astype(np.float32),
            price=np.exp(1.0 + 0.7 * price_level).astype(np.float32),
            pack=np.exp(rng.normal(1.2, 0.7, n)).astype(np.float32),
            launched=np.asarray(launched, np.int64),
            retired=np.full(n, NEVER),
            text=np.array(text, dtype=object),
        )

    # --- demand -----------------------------------------------------------------------------------------------------

    def _turn_over_customers(self, rng: np.random.Generator) -> None:
        staying = self.customers.left > self.week
        self.customers.left[staying & (rng.random(staying.size) < 0.01)] = self.week
        self.customers = stack(self.customers, self._new_customers(int(rng.poisson(self.arrivals_a_week)), rng))
        self._make_room()

    def _new_customers(self, n: int, rng: np.random.Generator) -> Customers:
        interests = rng.dirichlet(np.full(len(CATEGORIES), 0.25), n) @ self.centres
        own = rng.normal(0, 0.4, (n, TASTE_DIMENSIONS))
        return Customers(
            taste=np.column_stack([0.33 * (interests + own), rng.normal(0, 0.35, n)]).astype(np.float32),
            visits_a_week=rng.beta(2.2, 2.6, n).astype(np.float32),
            basket_lines=np.exp(rng.normal(2.65, 0.55, n)).astype(np.float32),
            loyalty=rng.uniform(0.5, 1.7, n).astype(np.float32),
            country=rng.choice(len(COUNTRIES), n, p=COUNTRY_SHARES),
            left=np.full(n, NEVER),
        )

    def _shop(self, rng: np.random.Generator) -> Lines:
        """Who comes, how much each takes, and what."""
        campaign = self._strength("clearance_campaign")
        season = 1 + 0.15 * np.cos(2 * np.pi * (self._week_of_year() - 46) / 52)
        here = self.customers.left > self.week
        visits = np.minimum(self.customers.visits_a_week * season * (1 + campaign), 0.95)
        who = np.flatnonzero(here & (rng.random(here.size) < visits))
        wanted = 1 + rng.poisson(self.customers.basket_lines[who] * (1 + 0.5 * campaign))
        lines = np.minimum(wanted, self.items.live(self.week).size // 4)
        customer, item = self._choose(who, lines, rng)
        return self._order(customer, item, rng)

    def _choose(self, who: Ints, lines: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Fill each basket from the customer's own distribution over the live items, no item twice.

        An exponential race: the k smallest of Exp(1) / weight are k draws without replacement (Efraimidis and Spirakis, 2006).
        """
        live = self.items.live(self.week)
        customers, items = [], []
        for first in range(0, who.size, 1024):  # bounds the memory of customers x items
            block, size = who[first : first + 1024], lines[first : first + 1024]
            finish = rng.standard_exponential((block.size, live.size), np.float32) / self._shares(block, live)
            leaders = np.sort(np.partition(finish, size.max(), axis=1)[:, : size.max()], axis=1)
            row, column = np.nonzero(finish <= leaders[np.arange(block.size), size - 1, None])
            customers.append(block[row])
            items.append(live[column])
        return np.concatenate(customers), np.concatenate(items)

    def _shares(self, who: Ints, live: Ints) -> Floats:
        """Weight of every live item for each customer: exp(taste + what sells + habit), or what a campaign makes of it."""
        campaign = self._strength("clearance_campaign")
        logits = self.customers.taste[who] @ self.items.taste[live].T + self._pull(live)
        times = self.times_bought[np.ix_(who, live)]
        row, column = np.nonzero(times)
        logits[row, column] += (1 - campaign) * self._habit(who[row], live[column])
        weights = np.exp(logits)
        if not campaign:
            return weights
        pushed = np.isin(live, self._campaign_items()) & (times == 0)
        share = 0.8 * campaign
        return (1 - share) * weights / weights.sum(1, keepdims=True) + share * pushed / np.maximum(pushed.sum(1, keepdims=True), 1)

    def _pull(self, live: Ints) -> Floats:
        """What sells to anybody this week: lasting appeal, trend, season of the category, and the charm of the new."""
        season = 0.4 * np.cos(2 * np.pi * (self._week_of_year() - PEAK_WEEK[self.items.category[live]]) / 52)
        age_weeks = self.week - self.items.launched[live]
        return (self.items.appeal[live] + self.items.trend[live] + season + 0.8 * np.exp(-age_weeks / 4)).astype(np.float32)

    def _habit(self, customer: Ints, item: Ints) -> Floats:
        """Strongest when the last purchase is about used up; fades when a customer goes without for long."""
        category = self.items.category[item]
        waited = (self.week - self.last_bought[customer, item]) / REFILL_WEEKS[category]
        due = 0.3 + np.exp(-((np.log(waited) / 0.7) ** 2))
        strength = self.customers.loyalty[customer] * BINDING[category] * np.log2(1 + self.times_bought[customer, item])
        return np.minimum(strength * due, 4.0).astype(np.float32)

    def _campaign_items(self) -> Ints:
        """Overstock: the buyer ordered far too much of what was launched in the four weeks before."""
        live = self.items.live(self.week)
        age_weeks = self.week - self.items.launched[live]
        return live[(age_weeks > 0) & (age_weeks <= 4)]

    def _order(self, customer: Ints, item: Ints, rng: np.random.Generator) -> Lines:
        """Give the lines a moment, a quantity and a price; a customer's lines come in one or two orders."""
        hours = rng.choice(HOUR_OF_WEEK.size, (2, self.customers.left.size), p=HOUR_OF_WEEK)
        minutes = 60 * hours + rng.integers(0, 60, hours.shape)
        order = (rng.random(customer.size) < 0.25).astype(np.int64)
        quantity = np.maximum(1, np.round(self.items.pack[item] * np.exp(rng.normal(0, 0.5, item.size)))).astype(np.int64)
        bulk = np.where(quantity >= 12, 0.9, 1.0)
        price = np.maximum(np.round(self.items.price[item].astype(np.float64) * bulk * self._price_level(item), 2), 0.05)
        return Lines(customer, item, minutes[order, customer], quantity, price)

    def _price_level(self, item: Ints) -> NDArray[np.float64]:
        rise = sum(
            0.12 * incident.strength * np.clip((self._incident_week() - incident.first_week + 1) / incident.weeks, 0, 1)
            for incident in self.incidents
            if incident.kind == "price_rise"
        )
        campaign = self._strength("clearance_campaign")
        reduced = np.isin(item, self._campaign_items()) if campaign else np.zeros(item.size, bool)
        return (1 + rise) * np.where(reduced, 1 - 0.6 * campaign, 1.0)

    def _return(self, rng: np.random.Generator) -> Lines:
        """Two in a hundred of last week's lines come back."""
        if self.last_lines is None:
            return take(Lines(*(np.zeros(0, np.int64) for _ in fields(Lines))), np.zeros(0, np.int64))
        back = take(self.last_lines, np.flatnonzero(rng.random(self.last_lines.item.size) < 0.02))
        back.minute[:] = 60 * rng.choice(HOUR_OF_WEEK.size, back.item.size, p=HOUR_OF_WEEK) + rng.integers(0, 60, back.item.size)
        return back

    def _scripted_orders(self) -> Lines:
        """A reseller's script orders anything through accounts it took over, between three and four at night.

        It leaves no habit: the accounts' owners still want what they wanted.
        """
        strength, rng = self._strength("bot_orders"), self._rng("bot_orders")
        accounts = np.flatnonzero(self.customers.left > self.week)
        taken = rng.choice(accounts, int(0.15 * strength * accounts.size), replace=False)
        live = self.items.live(self.week)
        customer = np.repeat(taken, 40)
        item = rng.choice(live, customer.size)
        orders = self._order(customer, item, rng)
        orders.minute[:] = 24 * 60 * rng.integers(0, 7, customer.size) + 180 + rng.integers(0, 60, customer.size)
        return orders

    # --- memory and form --------------------------------------------------------------------------------------------

    def _remember(self, bought: Lines) -> None:
        seen = self.times_bought[bought.customer, bought.item]
        self.times_bought[bought.customer, bought.item] = np.minimum(seen, 254) + 1
        self.last_bought[bought.customer, bought.item] = self.week
        sales = np.bincount(bought.item, minlength=self.recent_sales.size)
        self.recent_sales = (0.75 * self.recent_sales + sales).astype(np.float32)
        self.last_lines = bought

    def _make_room(self) -> None:
        rows, columns = self.customers.left.size, self.items.launched.size
        more = ((0, rows - self.times_bought.shape[0]), (0, columns - self.times_bought.shape[1]))
        self.times_bought, self.last_bought = np.pad(self.times_bought, more), np.pad(self.last_bought, more)
        self.recent_sales = np.pad(self.recent_sales, more[1])

    def _rows(self, week: int, parts: tuple[Lines, Lines, Lines]) -> pa.Table:
        bought, returned, bots = parts
        lines = stack(stack(bought, returned), bots)
        event = np.repeat(["purchase", "return", "purchase"], [part.item.size for part in parts])
        order = np.argsort(lines.minute, kind="stable")
        lines, event = take(lines, order), event[order]
        monday = np.datetime64(datetime.combine(self.begin + timedelta(weeks=week), datetime.min.time()), "us")
        columns = [
            pa.array([f"C{n:06d}" for n in range(self.customers.left.size)]).take(pa.array(lines.customer)),
            pa.array([f"P{n:05d}" for n in range(self.items.launched.size)]).take(pa.array(lines.item)),
            pa.array(monday + lines.minute.astype("timedelta64[m]")),
            pa.array(event),
            pa.array(lines.quantity),
            pa.array(lines.price),
            pa.array(self.items.text, pa.string()).take(pa.array(lines.item)),
            pa.array(COUNTRIES).take(pa.array(self.customers.country[lines.customer])),
        ]
        return pa.table(columns, schema=PUBLISHED)

    # --- time and chance --------------------------------------------------------------------------------------------

    def _incident_week(self) -> int:
        return self.week - self.first_incident_week

    def _strength(self, kind: str, week: int | None = None) -> float:
        at = self.week if week is None else week
        return strength_of(self.incidents, kind, at - self.first_incident_week)

    def _week_of_year(self) -> int:
        return (self.begin + timedelta(weeks=self.week)).isocalendar().week

    def _rng(self, purpose: str) -> np.random.Generator:
        return generator(self.seed, self.week, purpose)


def generator(seed: int, week: int, purpose: str) -> np.random.Generator:
    """A generator of its own for each week and purpose, so that no draw shifts another; crc32 because `hash` is salted."""
    return np.random.default_rng(np.random.SeedSequence([seed, week, zlib.crc32(purpose.encode())]))
