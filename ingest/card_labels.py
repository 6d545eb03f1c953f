"""Label transactions as an issuer gets to know them: late, from several sources, and not all of them right.

| source | what it says | when |
|---|---|---|
| `chargeback` | most frauds that were paid, and a few good payments that customers deny | a week later on average |
| `analyst_a`, `analyst_b` | what two teams make of the highest scores; some transactions go to both | the next day or the one after |
| `audit` | the truth about a sample, part random, part aimed | two days after it was drawn |

What was blocked was never paid, so nobody charges it back: without the exploration slice, only analysts would ever label it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.card_world import Day

Source = Literal["chargeback", "analyst_a", "analyst_b", "audit"]
SOURCES: tuple[Source, ...] = get_args(Source)
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LABELS = pa.schema(
    [
        ("transaction_id", pa.int64()),
        ("source", pa.string()),
        ("is_fraud", pa.bool_()),
        ("arrived_at", pa.timestamp("us")),
    ]
)


@dataclass(frozen=True)
class LabelSettings:
    """How the sources work when all is well."""

    reviews_a_day: int = 60
    """What both teams can look at together."""

    double_share: float = 0.15
    """Of the reviews; they tell how far the teams agree."""

    analyst_finds: float = 0.95
    analyst_clears: float = 0.98
    charged_back: float = 0.9
    """Of the frauds that were paid; the others nobody notices."""

    denied: float = 0.0004
    """Of the good payments."""

    chargeback_days: tuple[float, float, float] = (2.0, 3.0, 1.7)
    """At least so many, and a gamma of this shape and scale more: seven on average."""

    explored: float = 0.1
    """Of what would be blocked; let through, so that its labels come from more than analysts."""


@dataclass(frozen=True)
class LabelFault:
    """What is wrong with the sources on a day; nothing by default."""

    flipped: float = 0.0
    """Share of all labels, given or implied, that say the opposite: good payments are charged back, too."""

    missed: float = 0.0
    """Share of the frauds that no chargeback ever follows although it would have."""

    biased: float = 0.0
    """Share of its frauds that queue b calls good."""

    held_back: float = 0.0
    """Share of the labels that do not arrive until the outage is over."""

    held_until: datetime | None = None


ALL_WELL = LabelFault()


class _Said(NamedTuple):
    """Labels before they have an id: rows of the day, numbers of sources, what was said, and days after the day's end."""

    rows: NDArray[np.int64]
    source: NDArray[np.int64]
    fraud: Flags
    days: Floats


def explored(
    scores: Floats, blocked_above: float, settings: LabelSettings, rng: np.random.Generator
) -> tuple[Flags, Flags]:
    """What is blocked, and what would have been but is let through to be learned from; rows as in `scores`."""
    above = scores >= blocked_above
    let_through = above & (rng.random(len(scores)) < settings.explored)
    return above & ~let_through, let_through


def labels_of(
    day: Day,
    scores: Floats,
    blocked: Flags,
    settings: LabelSettings,
    rng: np.random.Generator,
    *,
    fault: LabelFault = ALL_WELL,
) -> pa.Table:
    """Every label that chargebacks and analysts will ever give a day's transactions (LABELS), whenever it arrives."""
    fraud = day.truth["is_fraud"].to_numpy()
    ends = datetime.combine(day.transactions["timestamp"][0].as_py().date(), datetime.min.time()) + timedelta(days=1)
    parts = [
        _chargebacks(fraud, blocked, settings, rng, fault=fault),
        *_reviews(fraud, scores, settings, rng, fault=fault),
    ]
    rows, source, said, days = (np.concatenate([part[n] for part in parts]) for n in range(4))
    arrived = np.datetime64(ends, "us") + (days * 86_400e6).astype("timedelta64[us]")
    if fault.held_until is not None:
        held = rng.random(len(rows)) < fault.held_back
        arrived[held] = np.maximum(arrived[held], np.datetime64(fault.held_until, "us"))
    ids = day.transactions["transaction_id"].to_numpy()
    columns = {
        "transaction_id": ids[rows],
        "source": np.array(SOURCES)[source],
        "is_fraud": said,
        "arrived_at": arrived,
    }
    return pa.table(columns).cast(LABELS).sort_by([("arrived_at", "ascending"), ("transaction_id", "ascending")])


def _chargebacks(
    fraud: Flags, blocked: Flags, settings: LabelSettings, rng: np.random.Generator, *, fault: LabelFault
) -> _Said:
    """Customers who see what they never paid, and a few who deny what they did; nobody denies what was blocked."""
    paid = ~blocked
    noticed = fraud & (rng.random(len(fraud)) < settings.charged_back) & (rng.random(len(fraud)) >= fault.missed)
    denied = ~fraud & (rng.random(len(fraud)) < settings.denied + fault.flipped)
    rows = np.flatnonzero(paid & (noticed | denied))
    least, shape, scale = settings.chargeback_days
    days = least + rng.gamma(shape, scale, len(rows))
    return _Said(rows, np.full(len(rows), SOURCES.index("chargeback")), np.ones(len(rows), bool), days)


def _reviews(
    fraud: Flags, scores: Floats, settings: LabelSettings, rng: np.random.Generator, *, fault: LabelFault
) -> list[_Said]:
    """The highest scores, half to each team, some of them to both."""
    doubles = round(settings.reviews_a_day * settings.double_share / (1 + settings.double_share))
    looked_at = np.argsort(-scores, kind="stable")[: settings.reviews_a_day - doubles]
    shuffled = rng.permutation(looked_at)
    both, once = shuffled[:doubles], shuffled[doubles:]
    queues: dict[Source, NDArray[np.int64]] = {
        "analyst_a": np.concatenate([both, once[::2]]),
        "analyst_b": np.concatenate([both, once[1::2]]),
    }
    return [_reviewed(source, rows, fraud[rows], settings, rng, fault=fault) for source, rows in queues.items()]


def _reviewed(
    source: Source,
    rows: NDArray[np.int64],
    fraud: Flags,
    settings: LabelSettings,
    rng: np.random.Generator,
    *,
    fault: LabelFault,
) -> _Said:
    right = rng.random(len(rows)) < np.where(fraud, settings.analyst_finds, settings.analyst_clears)
    said = fraud == right
    if source == "analyst_b":
        said &= ~(fraud & (rng.random(len(rows)) < fault.biased))
    said ^= rng.random(len(rows)) < fault.flipped
    days = rng.uniform(0.4, 1.7, len(rows))  # from the next morning to the afternoon after it
    return _Said(rows, np.full(len(rows), SOURCES.index(source)), said, days)
