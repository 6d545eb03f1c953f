"""What can go wrong with a card issuer's payments, feed, labels, features or releases: each incident with its one true cause.

An incident is data about the world; what the platform makes of it is not known here. Strength is a share of the worst that is
rehearsed: `weak` a quarter, `mid` a half, `strong` all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest.card_labels import ALL_WELL, LabelFault
from ingest.card_world import USUAL, Change, ChangeOn
from ingest.errors import SettingsError

Release = Literal["good", "bad", "poisoned"]
Skew = Literal["stale_windows", "wrong_unit", "wrong_clock"]
SKEWS: tuple[Skew, ...] = get_args(Skew)
Feed = Callable[[pa.Table, float, np.random.Generator], pa.Table]

SECOND_DELIVERY = 500_000
"""Added to the ids of what is delivered twice."""
STRENGTHS: Mapping[str, float] = {"weak": 0.25, "mid": 0.5, "strong": 1.0}


@dataclass(frozen=True)
class Incident:
    """What is otherwise than usual from the first day on; nothing by default."""

    cause: str = "none"
    strength: float = 0.0
    change: Change = USUAL
    labels: LabelFault = ALL_WELL
    feed: tuple[Feed, ...] = ()
    skew: Skew | None = None
    release: Release | None = None
    in_calendar: bool = False

    def world(self, first_day: int) -> ChangeOn:
        """How the world is otherwise than usual, on any day."""
        return lambda day: self.change if day >= first_day else USUAL

    def delivered(self, transactions: pa.Table, rng: np.random.Generator) -> pa.Table:
        """A day's transactions as the feed delivers them."""
        for fault in self.feed:
            transactions = fault(transactions, self.strength, rng)
        return transactions


def incident(cause: str, strength: float, *, seed: int, ends: datetime) -> Incident:
    """The incident of a cause; `seed` chooses among its forms, labels that are held back arrive when it `ends`.

    Two names with a plus between them are any two at once. Raises SettingsError for a cause that is not rehearsed, two of one
    room, or a strength outside of 0 to 1.
    """
    if not 0 < strength <= 1:
        raise SettingsError(
            f"A strength of {strength:g} is not rehearsed; choose weak, mid, strong, or a number above 0 and up to 1."
        )
    pair = PAIRS[seed % len(PAIRS)] if cause == "two_at_once" else tuple(cause.split("+", 1))
    if len(pair) == 2:
        first, second = (incident(name, strength, seed=seed, ends=ends) for name in pair)
        return _both(first, second)
    if cause not in INCIDENTS:
        raise SettingsError(
            f"There is no drill for {cause!r}. Those there are: {', '.join((*INCIDENTS, 'two_at_once'))}."
        )
    made = INCIDENTS[cause](strength)
    labels = replace(made.labels, held_until=ends) if made.labels.held_back else made.labels
    skew = SKEWS[seed % len(SKEWS)] if made.skew else None
    return replace(made, cause=cause, strength=strength, labels=labels, skew=skew)


def unit_change(rows: pa.Table, share: float, _rng: np.random.Generator) -> pa.Table:
    """Some acquirers' amounts come in cents."""
    hit = _acquirers(rows, share)
    return _with(rows, "amount", np.where(hit, rows["amount"].to_numpy() * 100, rows["amount"].to_numpy()))


def nulls(rows: pa.Table, share: float, rng: np.random.Generator) -> pa.Table:
    """Some distances are not delivered."""
    values = rows["distance_km"].to_numpy()
    return _with(rows, "distance_km", pa.array(values, mask=rng.random(len(values)) < share))


def stuck_column(rows: pa.Table, share: float, _rng: np.random.Generator) -> pa.Table:
    """Some acquirers send the same amount for every payment."""
    return _with(rows, "amount", np.where(_acquirers(rows, share), 49.0, rows["amount"].to_numpy()))


def duplicated_batch(rows: pa.Table, share: float, rng: np.random.Generator) -> pa.Table:
    """A part of the day is delivered twice, the second time under new ids."""
    again = rows.filter(pa.array(rng.random(len(rows)) < share))
    again = _with(again, "transaction_id", again["transaction_id"].to_numpy() + SECOND_DELIVERY)
    return pa.concat_tables([rows, again]).sort_by([("timestamp", "ascending"), ("transaction_id", "ascending")])


def first_delivered(ids: NDArray[np.int64], true_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The true id of each delivered payment: what came twice is what it was the first time."""
    return np.where(np.isin(ids, true_ids), ids, ids - SECOND_DELIVERY)


def time_zone(rows: pa.Table, share: float, _rng: np.random.Generator) -> pa.Table:
    """Some acquirers' clocks are five hours ahead; the date is that of the file."""
    moments = rows["timestamp"].to_numpy()
    midnight = moments.astype("datetime64[D]").astype(moments.dtype)
    ahead = midnight + (moments - midnight + np.timedelta64(5, "h")) % np.timedelta64(1, "D")
    shifted = _with(rows, "timestamp", np.where(_acquirers(rows, share), ahead, moments))
    return shifted.sort_by([("timestamp", "ascending"), ("transaction_id", "ascending")])


def retyped_column(rows: pa.Table, share: float, _rng: np.random.Generator) -> pa.Table:
    """Amounts come as text, some of them with a comma for the decimal point."""
    text = pc.cast(rows["amount"], pa.string())
    comma = pc.replace_substring(text, ".", ",")
    return _with(rows, "amount", pc.if_else(pa.array(_acquirers(rows, share)), comma, text))


def new_category(rows: pa.Table, share: float, _rng: np.random.Generator) -> pa.Table:
    """Some terminals are of a kind that nobody announced."""
    hit = _acquirers(rows, 0.3 * share)
    return _with(rows, "category", pc.if_else(pa.array(hit), "vouchers", rows["category"]))


def _acquirers(rows: pa.Table, share: float) -> NDArray[np.bool_]:
    """The payments at terminals of some acquirers: always the same terminals."""
    mixed = rows["terminal_id"].to_numpy() * 2_654_435_761 % 2**32
    return mixed / 2**32 < share


def _with(rows: pa.Table, name: str, values: object) -> pa.Table:
    """The same rows with another column; numbers keep their type."""
    if isinstance(values, np.ndarray):
        values = pa.array(values).cast(rows.schema.field(name).type)
    return rows.set_column(rows.schema.get_field_index(name), name, values)


def _both(first: Incident, second: Incident) -> Incident:
    """Two incidents of different rooms at once: each part is taken from the one that has it."""
    usual = Incident()
    for part in ("change", "labels", "feed", "skew", "release"):
        if getattr(usual, part) not in (getattr(first, part), getattr(second, part)):
            raise SettingsError(
                f"{first.cause} and {second.cause} are of one room ({part}); rehearse one after the other."
            )
    return Incident(
        cause="two_at_once",
        strength=first.strength,
        change=first.change if first.change != USUAL else second.change,
        labels=first.labels if first.labels != ALL_WELL else second.labels,
        feed=first.feed + second.feed,
        skew=first.skew or second.skew,
        release=first.release or second.release,
    )


Make = Callable[[float], Incident]

INCIDENTS: Mapping[str, Make] = {
    "none": lambda _: Incident(),
    "festival": lambda s: Incident(change=Change(festive=s), in_calendar=True),
    "covariate_harmless": lambda s: Incident(
        change=Change(categories={"restaurant": 1 + 2 * s, "groceries": 1 - 0.5 * s})
    ),
    "covariate_harmful": lambda s: Incident(change=Change(far=0.6 * s, amounts=1 + s)),
    "concept_new": lambda s: Incident(change=_with_takeovers(0.7 * s)),
    "concept_mutated": lambda s: Incident(change=Change(disguise=s)),
    "prior_shift": lambda s: Incident(change=Change(fraud=1 + 2 * s)),
    "label_flips": lambda s: Incident(labels=LabelFault(flipped=0.02 * s)),
    "missed_fraud": lambda s: Incident(labels=LabelFault(missed=0.8 * s)),
    "biased_source": lambda s: Incident(labels=LabelFault(biased=min(1.2 * s, 0.95))),
    "label_delay": lambda s: Incident(labels=LabelFault(held_back=min(1.2 * s, 1.0))),
    "skew": lambda _: Incident(skew=SKEWS[0]),
    "bad_release": lambda _: Incident(release="bad"),
    "poisoned_labels": lambda _: Incident(release="poisoned"),
    "unit_change": lambda _: Incident(feed=(unit_change,)),
    "nulls": lambda _: Incident(feed=(nulls,)),
    "stuck_column": lambda _: Incident(feed=(stuck_column,)),
    "duplicated_batch": lambda _: Incident(feed=(duplicated_batch,)),
    "time_zone": lambda _: Incident(feed=(time_zone,)),
    "retyped_column": lambda _: Incident(feed=(retyped_column,)),
    "new_category": lambda _: Incident(feed=(new_category,)),
    "good_release": lambda _: Incident(release="good"),
}

#: Which two are rehearsed together; of different rooms, because two of one are told apart by nobody.
PAIRS = (
    ("covariate_harmful", "biased_source"),
    ("unit_change", "missed_fraud"),
    ("bad_release", "label_delay"),
    ("covariate_harmless", "label_flips"),
    ("skew", "biased_source"),
    ("concept_new", "label_flips"),
    ("covariate_harmful", "label_delay"),
    ("nulls", "bad_release"),
)


def _with_takeovers(share: float) -> Change:
    """Of the fraud, so much is of the new pattern and so much less of each known one."""
    known = {name: part * (1 - share) for name, part in USUAL.mix.items()}
    return Change(mix={**known, "takeover": share})
