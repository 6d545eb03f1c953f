"""Simulate a card issuer one day at a time: who pays where, how much and when, and which of it is fraud.

Every day draws from its own generator, `(seed, day)`, and what began earlier (a stolen card, a skimmed terminal) is drawn
from the generator of the day on which it began. So a day needs no day before it, a longer run changes none, and an incident
changes the days on which it acts and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ingest.errors import SettingsError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pattern = Literal["stolen_card", "skimmed_terminal", "card_testing", "takeover"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)

TRANSACTIONS = pa.schema(
    [
        ("transaction_id", pa.int64()),
        ("timestamp", pa.timestamp("us")),
        ("customer_id", pa.int64()),
        ("terminal_id", pa.int64()),
        ("amount", pa.float64()),
        ("category", pa.string()),
        ("channel", pa.string()),
        ("distance_km", pa.float64()),
    ]
)
TRUTH = pa.schema([("transaction_id", pa.int64()), ("is_fraud", pa.bool_()), ("pattern", pa.string())])


class Category(NamedTuple):
    """What is paid for at a terminal."""

    share: float
    """Of the terminals."""
    amount: float
    """Times what a customer usually pays."""
    online: float
    """Share of its terminals that are web shops, to which nobody has to travel."""
    festive: float
    """Times as many customers choose it at a festival of full strength."""


CATEGORIES = {
    "groceries": Category(0.30, 0.8, 0.05, 1.3),
    "fuel": Category(0.12, 1.2, 0.0, 1.0),
    "restaurant": Category(0.22, 0.9, 0.05, 1.4),
    "clothes": Category(0.12, 1.5, 0.35, 2.2),
    "electronics": Category(0.08, 3.0, 0.5, 2.5),
    "gifts": Category(0.08, 1.3, 0.5, 3.0),
    "travel": Category(0.04, 4.0, 0.7, 0.8),
    "digital": Category(0.04, 0.4, 1.0, 1.2),
}


class Festival(NamedTuple):
    """Days on which people spend more, every year; `strength` 1 is the year's largest."""

    name: str
    first: tuple[int, int]  # month, day
    days: int
    strength: float


FESTIVALS = (
    Festival("spring sale", (3, 10), 4, 0.5),
    Festival("summer sale", (6, 23), 7, 0.6),
    Festival("harvest fair", (9, 12), 3, 0.5),
    Festival("november sale", (11, 27), 5, 1.0),
    Festival("winter holidays", (12, 16), 9, 0.9),
)

WEEKDAY = np.array([0.93, 0.94, 0.97, 1.02, 1.15, 1.2, 0.79])
PER_CUSTOMER = 0.84  # transactions a day
PER_TERMINAL = 4.0
KM = 100.0  # the country is a square
NEAR = 20  # terminals among which a customer usually chooses
NEARBY = 60  # customers who come by a terminal
STAYS_NEAR = 0.9
SPREAD = 0.45  # of one customer's amounts, on a log scale
THEFT_DAYS, SKIM_DAYS = 4, 28
START = date(2025, 1, 6)  # a Monday


@dataclass(frozen=True)
class CardSettings:
    """How large the issuer is, and how much fraud it sees. Raises SettingsError for what cannot be simulated."""

    seed: int = 0
    per_day: int = 4_200
    fraud_share: float = 0.01
    start: date = START

    def __post_init__(self) -> None:
        if not 500 <= self.per_day <= 100_000 or not 0 < self.fraud_share < 0.2:
            raise SettingsError(
                f"{self} cannot be simulated; per_day is 500 to 100,000, fraud_share above 0 and below .2."
            )


@dataclass(frozen=True)
class Change:
    """What is otherwise than usual in the world on a day; nothing by default."""

    festive: float = 0.0
    """How strong a festival or season it is; the calendar's own festivals come beside it."""
    volume: float = 1.0
    amounts: float = 1.0
    """Times the amounts of good customers."""
    categories: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Times as many customers choose these."""
    far: float = 0.0
    """Share of those who would stay near that pay far away instead."""
    fraud: float = 1.0
    """Times as much fraud."""
    mix: Mapping[Pattern, float] = field(
        default_factory=lambda: MappingProxyType({"stolen_card": 0.45, "skimmed_terminal": 0.3, "card_testing": 0.25})
    )
    """What share of fraud is of which pattern; takeovers are not known yet."""
    disguise: float = 0.0
    """How far stolen cards are used as their owners use them: 0 not at all, 1 wholly."""


USUAL = Change()
ChangeOn = Callable[[int], Change]


class Day(NamedTuple):
    """A day's transactions (TRANSACTIONS), in order of time, and what they were (TRUTH), in the same order."""

    transactions: pa.Table
    truth: pa.Table


class _Rows(NamedTuple):
    """Some transactions before they have an id: columns of one length."""

    seconds: Floats  # of the day
    customers: Ints
    terminals: Ints
    amounts: Floats
    pattern: Pattern | None


class CardWorld:
    """The customers and terminals of a seed, and every day of theirs."""

    def __init__(self, settings: CardSettings | None = None) -> None:
        self.settings = settings or CardSettings()
        rng = self._generator("world")
        self.customers, self.terminals = (
            round(self.settings.per_day / PER_CUSTOMER),
            round(self.settings.per_day / PER_TERMINAL),
        )
        self._home = rng.uniform(0, KM, (self.customers, 2))
        self._usual = rng.lognormal(3.3, 0.5, self.customers)
        self._activity = np.cumsum(rng.gamma(2.0, 1.0, self.customers))
        self._night_owl = rng.beta(1, 25, self.customers)
        self._place = rng.uniform(0, KM, (self.terminals, 2))
        shares = np.array([c.share for c in CATEGORIES.values()])
        self._category = rng.choice(len(CATEGORIES), self.terminals, p=shares / shares.sum())
        online = np.array([c.online for c in CATEGORIES.values()])
        self._online = rng.random(self.terminals) < online[self._category]
        self._popularity = np.cumsum(rng.gamma(1.5, 1.0, self.terminals))

    def date_of(self, day: int) -> date:
        return self.settings.start + timedelta(days=day)

    def festival_on(self, day: int) -> Festival | None:
        """The festival of that day, which the calendar knows."""
        on = self.date_of(day)
        for festival in FESTIVALS:
            first = date(on.year, *festival.first)
            if first <= on < first + timedelta(days=festival.days):
                return festival
        return None

    def day(self, day: int, change_on: ChangeOn = lambda _: USUAL) -> Day:
        """Everything that was paid on day 0, 1, ... after the start; `change_on` says how any day is otherwise than usual."""
        patterns = {
            "stolen_card": self._stolen_cards,
            "skimmed_terminal": self._skimmed_terminals,
            "card_testing": self._card_testing,
            "takeover": self._takeovers,
        }
        return self._as_tables(
            day, [self._good(day, change_on(day)), *(rows(day, change_on) for rows in patterns.values())]
        )

    def _good(self, day: int, change: Change) -> _Rows:
        rng, festival = self._generator("good", day), self.festival_on(day)
        strength = max(festival.strength if festival else 0.0, change.festive)
        expected = self.settings.per_day * WEEKDAY[self.date_of(day).weekday()] * change.volume * (1 + 0.6 * strength)
        count = rng.poisson(expected * rng.lognormal(0, 0.03))
        customers = _drawn(rng, self._activity, count)
        terminals = self._chosen_terminals(rng, customers, change, strength)
        amounts = self._amounts(rng, customers, terminals) * change.amounts * (1 + 0.15 * strength)
        return _Rows(self._seconds(rng, customers), customers, terminals, amounts, None)

    def _expected(self, pattern: Pattern, change: Change) -> float:
        """Frauds of a pattern on a day."""
        return self.settings.per_day * self.settings.fraud_share * change.fraud * change.mix.get(pattern, 0.0)

    def _stolen_cards(self, day: int, change_on: ChangeOn) -> _Rows:
        """For four days a thief pays much, far from home, at any hour; in disguise nearly as the owner would."""
        thefts = [
            self._begun("theft", began, self._expected("stolen_card", change_on(began)) / 10, self.customers)
            for began in range(day - THEFT_DAYS + 1, day + 1)
        ]
        rng, victims = self._generator("stolen", day), np.concatenate(thefts)
        customers = np.repeat(victims, rng.poisson(10 / THEFT_DAYS, len(victims)))
        count, hidden = len(customers), change_on(day).disguise
        as_owner = rng.random(count) < hidden
        terminals = np.where(
            as_owner, self._near[customers, rng.integers(NEAR, size=count)], rng.integers(self.terminals, size=count)
        )
        factor = np.exp(np.log(rng.uniform(2.5, 6.0, count)) * (1 - hidden))
        seconds = np.where(as_owner, self._seconds(rng, customers), rng.uniform(0, 86_400, count))
        return _Rows(seconds, customers, terminals, self._amounts(rng, customers, terminals) * factor, "stolen_card")

    def _skimmed_terminals(self, day: int, change_on: ChangeOn) -> _Rows:
        """For four weeks copies of the cards that were used at a terminal are used there again, for a little more than usual."""
        skims = [
            self._begun("skim", began, self._expected("skimmed_terminal", change_on(began)) / SKIM_DAYS, self.terminals)
            for began in range(day - SKIM_DAYS + 1, day + 1)
        ]
        rng, skimmed = self._generator("skimmed", day), np.concatenate(skims)
        terminals = np.repeat(skimmed, rng.poisson(1.0, len(skimmed)))
        customers = self._locals[terminals, rng.integers(NEARBY, size=len(terminals))]
        amounts = self._amounts(rng, customers, terminals) * rng.uniform(1.0, 2.0, len(terminals))
        return _Rows(self._seconds(rng, customers), customers, terminals, amounts, "skimmed_terminal")

    def _card_testing(self, day: int, change_on: ChangeOn) -> _Rows:
        """Within two hours of the night a bot pays very little with many cards at a web shop, then much with a third of them."""
        rng = self._generator("testing", day)
        shops = np.flatnonzero(self._online)
        bots = rng.poisson(self._expected("card_testing", change_on(day)) / 12)
        seconds, customers, terminals, amounts = [], [], [], []
        for _ in range(bots):
            tested = rng.integers(self.customers, size=9)
            used = tested[:3]
            began = rng.uniform(0, 6 * 3600)
            seconds += [began + np.sort(rng.uniform(0, 5400, 9)), began + rng.uniform(5400, 7200, 3)]
            customers += [tested, used]
            terminals += [np.full(9, rng.choice(shops)), rng.choice(shops, 3)]
            amounts += [rng.uniform(0.5, 3.0, 9), self._usual[used] * rng.uniform(3, 6, 3)]
        joined = [np.concatenate(part) if part else np.empty(0) for part in (seconds, customers, terminals, amounts)]
        return _Rows(joined[0], joined[1].astype(np.int64), joined[2].astype(np.int64), joined[3], "card_testing")

    def _takeovers(self, day: int, change_on: ChangeOn) -> _Rows:
        """Somebody uses a customer's account by day, at gift and digital shops, for no more than is usual."""
        rng = self._generator("takeover", day)
        count = rng.poisson(self._expected("takeover", change_on(day)))
        wanted = [list(CATEGORIES).index(name) for name in ("gifts", "digital")]
        shops = np.flatnonzero(self._online & np.isin(self._category, wanted))
        customers, terminals = rng.integers(self.customers, size=count), rng.choice(shops, count)
        amounts = self._usual[customers] * rng.uniform(0.8, 1.6, count)
        return _Rows(rng.normal(13, 2.5, count).clip(8, 20) * 3600, customers, terminals, amounts, "takeover")

    def _begun(self, what: str, day: int, expected: float, among: int) -> Ints:
        """Whom it befell on a day, by that day's own generator: the same, whichever later day asks."""
        rng = self._generator(what, day)
        return rng.integers(among, size=rng.poisson(expected))

    def _chosen_terminals(self, rng: np.random.Generator, customers: Ints, change: Change, festive: float) -> Ints:
        near = rng.random(len(customers)) < STAYS_NEAR * (1 - change.far)
        weights = np.array(
            [(1 + (c.festive - 1) * festive) * change.categories.get(n, 1.0) for n, c in CATEGORIES.items()]
        )
        wanted = (weights / weights.max())[self._category]
        terminals = self._offered(rng, customers, near)
        # Whoever does not want what is offered looks on, as near or as far as before, and takes the tenth in any case.
        looking = np.flatnonzero(rng.random(len(customers)) >= wanted[terminals])
        for _ in range(9):
            terminals[looking] = self._offered(rng, customers[looking], near[looking])
            looking = looking[rng.random(len(looking)) >= wanted[terminals[looking]]]
        return terminals

    def _offered(self, rng: np.random.Generator, customers: Ints, near: NDArray[np.bool_]) -> Ints:
        """A terminal for each: one of those around the customer's home, or a popular one anywhere."""
        count = len(customers)
        around = self._near[customers, rng.integers(NEAR, size=count)]
        return np.where(near, around, _drawn(rng, self._popularity, count))

    def _amounts(self, rng: np.random.Generator, customers: Ints, terminals: Ints) -> Floats:
        factor = np.array([c.amount for c in CATEGORIES.values()])[self._category[terminals]]
        amounts: Floats = self._usual[customers] * factor * rng.lognormal(0, SPREAD, len(customers))
        return amounts

    def _seconds(self, rng: np.random.Generator, customers: Ints) -> Floats:
        """When people pay: around noon and in the evening, a few at night."""
        count = len(customers)
        noon = rng.random(count) < 0.6
        hours = np.where(noon, rng.normal(12.5, 2.5, count), rng.normal(18.5, 2.0, count)) % 24
        night = rng.random(count) < self._night_owl[customers]
        seconds: Floats = np.where(night, rng.uniform(0, 6, count), hours) * 3600
        return seconds

    @cached_property
    def _near(self) -> Ints:
        """The terminals nearest to each customer."""
        found = cKDTree(self._place).query(self._home, k=NEAR)[1]
        return np.asarray(found, np.int64)

    @cached_property
    def _locals(self) -> Ints:
        """The customers who live nearest to each terminal: it is their cards that are copied there."""
        found = cKDTree(self._home).query(self._place, k=NEARBY)[1]
        return np.asarray(found, np.int64)

    def _as_tables(self, day: int, parts: list[_Rows]) -> Day:
        seconds, customers, terminals, amounts = (np.concatenate([part[n] for part in parts]) for n in range(4))
        pattern = np.concatenate(
            [np.full(len(part.seconds), PATTERNS.index(part.pattern) if part.pattern else -1) for part in parts]
        )
        order = np.argsort(seconds, kind="stable")
        seconds, customers, terminals, pattern = seconds[order], customers[order], terminals[order], pattern[order]
        midnight = np.datetime64(datetime.combine(self.date_of(day), datetime.min.time()), "us")
        ids = day * 1_000_000 + np.arange(len(order))
        away = np.hypot(*(self._home[customers] - self._place[terminals]).T)
        online = self._online[terminals]
        columns = {
            "transaction_id": ids,
            "timestamp": midnight + (seconds * 1e6).astype("timedelta64[us]"),
            "customer_id": customers,
            "terminal_id": terminals,
            "amount": np.maximum(np.round(amounts[order], 2), 0.01),
            "category": _named(self._category[terminals], tuple(CATEGORIES)),
            "channel": _named(online.astype(np.int64), ("chip", "online")),
            "distance_km": np.where(online, 0.0, np.round(away, 1)),
        }
        truth = {"transaction_id": ids, "is_fraud": pattern >= 0, "pattern": _named(pattern, PATTERNS)}
        return Day(pa.table(columns).cast(TRANSACTIONS), pa.table(truth).cast(TRUTH))

    def _generator(self, what: str, day: int = 0) -> np.random.Generator:
        # Days before the start exist, too: what befell somebody then goes on.
        return np.random.default_rng([self.settings.seed, STREAMS.index(what), day + 1_000])


STREAMS = ("world", "good", "theft", "stolen", "skim", "skimmed", "testing", "takeover")


def _drawn(rng: np.random.Generator, cumulated: Floats, count: int) -> Ints:
    """Numbers in proportion to weights that are cumulated already."""
    return np.searchsorted(cumulated, rng.random(count) * cumulated[-1], side="right")


def _named(numbers: Ints, names: tuple[str, ...]) -> pa.Array:
    """The names of numbers; null for -1."""
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32(), mask=numbers < 0), pa.array(names)).cast(
        pa.string()
    )
