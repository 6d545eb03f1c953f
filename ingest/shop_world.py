"""Simulate the world of a small online shop one week at a time: what it sells, who comes, what they choose and why.

A customer chooses in proportion to exp(taste + habit + trend). All three can be learned: taste from what similar
customers buy and from the words of an item, habit from what the customer bought before and how long ago, trend from
what sells now. Every week draws from its own generator, so a week depends on the weeks before it and on nothing later.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.schema import WEEK
from ingest.shop_incidents import Incident, WorldKind, strength_of

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


class Category(NamedTuple):
    """What belongs together on a shelf, and how it is bought."""

    nouns: tuple[str, ...]
    refill_weeks: float
    """Until a buyer wants the same thing again: paper and soap run out, clocks do not."""
    binding: float
    """How much a past purchase binds, for the same reason."""
    peak_week: int
    """The week of the year in which it sells best."""


CATEGORIES = {
    "kitchen": Category(("mug", "teapot", "jug", "bowl", "plate"), 8, 0.6, 40),
    "baking": Category(("cake tin", "cake case", "cookie cutter", "apron", "whisk"), 4, 0.9, 44),
    "candles": Category(("candle", "tea light", "lantern", "candle holder", "wax melt"), 3, 1.0, 46),
    "garden": Category(("planter", "watering can", "bird feeder", "trowel", "plant label"), 8, 0.5, 18),
    "party": Category(("bunting", "paper napkin", "balloon", "party hat", "straw"), 3, 1.0, 26),
    "stationery": Category(("notebook", "gift tag", "greeting card", "pencil", "wrapping paper"), 2, 1.1, 34),
    "bags": Category(("lunch bag", "shopper bag", "wash bag", "purse", "rucksack"), 7, 0.7, 36),
    "toys": Category(("puzzle", "skittles", "doll", "spinning top", "building blocks"), 9, 0.5, 47),
    "bathroom": Category(("soap", "towel", "bath salts", "hook", "bath mat"), 3, 1.0, 8),
    "decoration": Category(("photo frame", "clock", "wall art", "mirror", "doorstop"), 10, 0.4, 12),
    "christmas": Category(("bauble", "wreath", "stocking", "advent calendar", "tree topper"), 6, 0.7, 47),
    "textiles": Category(("cushion", "throw", "tea towel", "tablecloth", "doormat"), 8, 0.6, 2),
}
REFILL_WEEKS = np.array([category.refill_weeks for category in CATEGORIES.values()], np.float32)
BINDING = np.array([category.binding for category in CATEGORIES.values()], np.float32)
PEAK_WEEK = np.array([category.peak_week for category in CATEGORIES.values()], np.float32)
COLOURS = ("red", "blue", "pink", "green", "white", "ivory", "black", "yellow")
MATERIALS = ("ceramic", "wooden", "enamel", "paper", "cotton", "glass", "metal")
COUNTRIES = ("United Kingdom", "Germany", "France", "Ireland", "Spain", "Netherlands")
COUNTRY_SHARES = (0.8, 0.06, 0.05, 0.04, 0.03, 0.02)

WEEKDAY = np.array([0.16, 0.17, 0.17, 0.18, 0.15, 0.06, 0.11])
HOUR = np.array([0] * 7 + [1, 3, 6, 9, 10, 11, 10, 9, 9, 7, 5, 4, 3, 3, 2, 0, 0], np.float64)
HOUR_OF_WEEK = np.outer(WEEKDAY, HOUR / HOUR.sum()).ravel() / WEEKDAY.sum()

NEVER = 1_000_000
TASTE_DIMENSIONS = 12


@dataclass(frozen=True)
class Items:
    """The catalogue, one array a property, all in order of launch.

    The last taste dimension is the price level: cheap items suit some customers, expensive ones others.
    """

    taste: Floats
    category: Ints
    appeal: Floats
    trend: Floats
    price: NDArray[np.float64]
    pack: NDArray[np.float64]
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


_NONE = np.zeros(0, np.int64)
NO_LINES = Lines(_NONE, _NONE, _NONE, _NONE, price=np.zeros(0))

Columns = TypeVar("Columns", Items, Customers, Lines)


def stack(first: Columns, second: Columns) -> Columns:
    names = [field.name for field in fields(first)]
    return type(first)(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))


def take(columns: Columns, rows: Ints) -> Columns:
    return type(columns)(*(getattr(columns, field.name)[rows] for field in fields(columns)))


class World:
    """The shop's state between two weeks; `live_one_week` moves it on and returns what happened."""

    def __init__(
        self, seed: int, *, customers: int, items: int, begin: date, start: date, incidents: tuple[Incident, ...]
    ) -> None:
        self.seed, self.begin, self.incidents = seed, begin, incidents
        self.history_weeks = (start - begin) // WEEK
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
        self.last_lines = NO_LINES

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
        self.items.retired[old[rng.random(old.size) < 0.022]] = self.week
        self.items.trend[:] = 0.93 * self.items.trend + rng.normal(0, 0.22, self.items.trend.size)
        self._launch(self._new_items(n := int(rng.poisson(self.launches_a_week)), rng, launched=np.full(n, self.week)))
        self._drop_a_supplier()

    def _drop_a_supplier(self) -> None:
        """A catalogue change: best sellers go overnight, and another supplier's likenesses of them come."""
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
        arrived = self.items.launched.size + np.arange(gone.size)
        self._launch(likeness)
        # Nobody has bought a likeness yet, but who bought the old one reaches for it: the habit is to the thing.
        self.times_bought[:, arrived] = self.times_bought[:, gone]
        self.last_bought[:, arrived] = self.last_bought[:, gone]

    def _launch(self, items: Items) -> None:
        self.items = stack(self.items, items)
        self._make_room()

    def _new_items(self, n: int, rng: np.random.Generator, launched: Ints) -> Items:
        category, noun = rng.integers(0, len(CATEGORIES), n), rng.integers(0, 5, n)
        colour, material = rng.integers(0, len(COLOURS), n), rng.integers(0, len(MATERIALS), n)
        look = self.colours[colour] + self.materials[material] + rng.normal(0, 0.35, (n, TASTE_DIMENSIONS))
        price_level = rng.normal(0, 1, n)
        return Items(
            taste=np.column_stack([self.centres[category] + look, price_level]).astype(np.float32),
            category=category,
            appeal=rng.normal(0, 0.7, n).astype(np.float32),
            trend=rng.normal(0, 0.5, n).astype(np.float32),
            price=np.exp(1.0 + 0.7 * price_level),
            pack=np.exp(rng.normal(1.2, 0.7, n)),
            launched=np.asarray(launched, np.int64),
            retired=np.full(n, NEVER),
            text=np.array([_describe(*words) for words in zip(category, noun, colour, material, strict=True)], object),
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

        The k smallest of Exp(1) / weight are k draws without replacement (Efraimidis and Spirakis, 2006).
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
        """Weigh every live item for each customer by exp(taste + what sells + habit)."""
        campaign = self._strength("clearance_campaign")
        logits = self.customers.taste[who] @ self.items.taste[live].T + self._pull(live)
        times = self.times_bought[np.ix_(who, live)]
        row, column = np.nonzero(times)
        logits[row, column] += (1 - campaign) * self._habit(who[row], live[column])
        weights: Floats = np.exp(logits)
        return self._under_campaign(weights, live, times, campaign) if campaign else weights

    def _under_campaign(self, weights: Floats, live: Ints, times: NDArray[np.uint8], campaign: float) -> Floats:
        """Banners and a mailing to everybody: four lines in five are bargains that the customer never bought before."""
        pushed = np.isin(live, self._bargains()) & (times == 0)
        share = 0.8 * campaign
        usual = weights / weights.sum(1, keepdims=True)
        bargains = pushed / np.maximum(pushed.sum(1, keepdims=True), 1)
        mixed: Floats = ((1 - share) * usual + share * bargains).astype(np.float32)
        return mixed

    def _pull(self, live: Ints) -> Floats:
        """What sells to anybody this week: lasting appeal, trend, season of the category, and the charm of the new."""
        season = 0.4 * np.cos(2 * np.pi * (self._week_of_year() - PEAK_WEEK[self.items.category[live]]) / 52)
        age_weeks = self.week - self.items.launched[live]
        pull = self.items.appeal[live] + self.items.trend[live] + season + 0.8 * np.exp(-age_weeks / 4)
        return pull.astype(np.float32)

    def _habit(self, customer: Ints, item: Ints) -> Floats:
        """Strongest when the last purchase is about used up; fades when a customer goes without for long."""
        category = self.items.category[item]
        waited = (self.week - self.last_bought[customer, item]) / REFILL_WEEKS[category]
        due = 0.3 + np.exp(-((np.log(waited) / 0.7) ** 2))
        strength = self.customers.loyalty[customer] * BINDING[category] * np.log2(1 + self.times_bought[customer, item])
        return np.minimum(strength * due, 4.0).astype(np.float32)

    def _bargains(self) -> Ints:
        """The bargain table: the cheapest tenth of what is live, whatever anybody's taste."""
        live = self.items.live(self.week)
        return live[np.argsort(self.items.price[live], kind="stable")[: live.size // 10]]

    def _order(self, customer: Ints, item: Ints, rng: np.random.Generator) -> Lines:
        """Give the lines a moment, a quantity and a price; a customer's lines come in one or two orders."""
        moments = _moments(rng, (2, self.customers.left.size))
        order = (rng.random(customer.size) < 0.25).astype(np.int64)
        quantity = np.maximum(1, np.round(self.items.pack[item] * np.exp(rng.normal(0, 0.5, item.size))))
        bulk_discount = np.where(quantity >= 12, 0.9, 1.0)
        price = np.maximum(np.round(self.items.price[item] * bulk_discount * self._price_level(item), 2), 0.05)
        return Lines(customer, item, moments[order, customer], quantity.astype(np.int64), price)

    def _price_level(self, item: Ints) -> NDArray[np.float64]:
        """The price rise so far, which stays, and what a campaign takes off its bargains."""
        week = self.week - self.history_weeks
        risen = math.fsum(
            0.12 * rise.strength * min(1.0, max(0, week - rise.first_week + 1) / rise.weeks)
            for rise in self.incidents
            if rise.kind == "price_rise"
        )
        level = np.full(item.size, 1 + risen)
        if campaign := self._strength("clearance_campaign"):
            level[np.isin(item, self._bargains())] *= 1 - 0.6 * campaign
        return level

    def _return(self, rng: np.random.Generator) -> Lines:
        """Two in a hundred of last week's lines come back."""
        back = take(self.last_lines, np.flatnonzero(rng.random(self.last_lines.item.size) < 0.02))
        return replace(back, minute=_moments(rng, back.minute.shape))

    def _scripted_orders(self) -> Lines:
        """A reseller's script orders anything through accounts it took over, between three and four at night.

        It leaves no habit: the accounts' owners still want what they wanted.
        """
        strength, rng = self._strength("bot_orders"), self._rng("bot_orders")
        accounts = np.flatnonzero(self.customers.left > self.week)
        taken = rng.choice(accounts, int(0.15 * strength * accounts.size), replace=False)
        customer = np.repeat(taken, 40)
        orders = self._order(customer, rng.choice(self.items.live(self.week), customer.size), rng)
        night = rng.integers(0, 7, customer.size) * 24 + 3
        return replace(orders, minute=60 * night + rng.integers(0, 60, customer.size))

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
        monday = np.datetime64(datetime.combine(self.begin + week * WEEK, datetime.min.time()), "us")
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

    def _strength(self, kind: WorldKind, week: int | None = None) -> float:
        return strength_of(kind, (self.week if week is None else week) - self.history_weeks, self.incidents)

    def _week_of_year(self) -> int:
        return (self.begin + self.week * WEEK).isocalendar().week

    def _rng(self, purpose: str) -> np.random.Generator:
        return generator(self.seed, self.week, purpose)


def generator(seed: int, week: int, purpose: str) -> np.random.Generator:
    """Make a generator of its own for each week and purpose, so that no draw shifts another."""
    # crc32, because `hash` of a text differs from process to process.
    return np.random.default_rng(np.random.SeedSequence([seed, week, zlib.crc32(purpose.encode())]))


def _moments(rng: np.random.Generator, shape: tuple[int, ...]) -> Ints:
    """Draw minutes of a week as busy as shops are: by day, on weekdays."""
    return 60 * rng.choice(HOUR_OF_WEEK.size, shape, p=HOUR_OF_WEEK) + rng.integers(0, 60, shape)


def _describe(category: int, noun: int, colour: int, material: int) -> str:
    name = list(CATEGORIES)[category]
    return f"{COLOURS[colour]} {MATERIALS[material]} {CATEGORIES[name].nouns[noun]} {name}"
