"""Evidence from the batches as they were delivered: each check has its own number, and needs no label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitoring.fraud.figures import Figure, Figures, share
from monitoring.fraud.ledger import Batch, Ints, Ledger

NEW_DAYS = 3
"""What is new: three days outvote a day that is odd by chance, and a fault is seen on its second or third day."""
REFERENCE_DAYS = (56, 28)
"""Four whole weeks that ended four weeks ago: an incident is found within four weeks, or is in both."""
EVERY = 4
KNOWN_SHARE = 0.0005
"""A category that fewer than one in two thousand payments had is not one that is known."""


def reference_of(ledger: Ledger, as_of: int) -> Ints:
    """Rows of four weeks that ended four weeks ago, days of the calendar left out: one in four, which is a week's worth."""
    last, wanted = as_of - REFERENCE_DAYS[1], REFERENCE_DAYS[0] - REFERENCE_DAYS[1]
    days = [day for day in range(last - 2 * wanted, last) if not ledger.event_on(day)][-wanted:]
    every = [np.arange(rows.start, rows.stop) for rows in (ledger.rows(day, day + 1) for day in days)]
    return np.concatenate(every)[::EVERY] if every else np.empty(0, np.int64)


def batch_figures(ledger: Ledger, as_of: int) -> Figures:
    """What the last three days' batches look like beside those of the reference."""
    now, before = ledger.rows(as_of - NEW_DAYS, as_of), reference_of(ledger, as_of)
    numbers = range(as_of - NEW_DAYS - ledger.first_day, as_of - ledger.first_day)
    batches = [ledger.batches[number] for number in numbers if 0 <= number < len(ledger.batches)]
    rows = now.stop - now.start
    if not rows or not len(before):
        return {"batch.volume": Figure(float(rows))}
    column = ledger.columns
    return {
        "batch.missing_columns": Figure(float(len({name for batch in batches for name in batch.missing}))),
        "batch.retyped_columns": Figure(float(len({name for batch in batches for name in batch.retyped}))),
        "batch.unreadable": share(sum(max(b.unreadable.values(), default=0) for b in batches), rows),
        "batch.nulls": _most_new_nulls(ledger, now, before, batches),
        "batch.scale": _off_scale(column["amount"][now], column["amount"][before]),
        "batch.stuck": _stuck(ledger, now, before),
        "batch.repeated": _repeated(ledger, now),
        "batch.clock": _clock(ledger, now, before),
        "batch.new_category": _new_categories(column["category"][now], column["category"][before]),
        "batch.volume": _volume(ledger, as_of),
    }


def _most_new_nulls(ledger: Ledger, now: slice, before: Ints, batches: Sequence[Batch]) -> Figure:
    """The greatest rise of the share of missing values of any column; what cannot be read is counted elsewhere."""
    count = now.stop - now.start
    rises = []
    for name, values in ledger.columns.items():
        unreadable = sum(batch.unreadable.get(name, 0) for batch in batches) / count
        rises.append(_null_share(values[now]) - unreadable - _null_share(values[before]))
    return Figure(max(rises), 0.0, count)


def _null_share(values: NDArray) -> float:
    if values.dtype.kind == "f":
        return float(np.isnan(values).mean())
    if values.dtype.kind == "M":
        return float(np.isnat(values).mean())
    return float((values == None).mean()) if values.dtype.kind == "O" else float((values == -1).mean())  # noqa: E711


def _off_scale(now: NDArray, before: NDArray) -> Figure:
    """The share of amounts that are three times beyond all but a few of the reference's, above or below."""
    low, high = np.nanquantile(before, [0.002, 0.998])
    return share(int(((now > 3 * high) | (now < low / 3)).sum()), len(now))


def _stuck(ledger: Ledger, now: slice, before: Ints) -> Figure:
    """By how much the most frequent number of a column became more frequent; zero is a number that may be frequent."""
    rises = []
    for name in ("amount", "distance_km"):
        values, usual = ledger.columns[name][now], ledger.columns[name][before]
        values = values[(values != 0) & np.isfinite(values)]
        if not len(values):
            continue
        found, counts = np.unique(values, return_counts=True)
        most = counts.argmax()
        rises.append(counts[most] / len(values) - float((usual == found[most]).mean()))
    return Figure(max(rises, default=math.nan), 0.0, now.stop - now.start)


def _repeated(ledger: Ledger, now: slice) -> Figure:
    """The share of payments that are another one in all but the id."""
    names = ("customer_id", "terminal_id", "timestamp", "amount")
    keys = [_comparable(ledger.columns[name][now]) for name in names]
    order = np.lexsort(keys)
    same = np.all([key[order][1:] == key[order][:-1] for key in keys], axis=0)
    return share(int(same.sum()), now.stop - now.start)


def _comparable(values: NDArray) -> NDArray:
    return values.astype("int64") if values.dtype.kind == "M" else np.nan_to_num(values.astype("float64"))


def _clock(ledger: Ledger, now: slice, before: Ints) -> Figure:
    """The share of payments that are explained by some clocks being off by whole hours."""
    count = now.stop - now.start
    return Figure(share_shifted(_hours(ledger, before), _hours(ledger, now), count), 0.0, count)


def share_shifted(usual: NDArray[np.float64], found: NDArray[np.float64], count: int) -> float:
    """The share of `count` payments whose hour is off; `usual` and `found` are the shares of the 24 hours of the day.

    The hours found are taken as (1 - share) of what is usual and `share` of the same, shifted; the shift that explains most is
    taken, and counts as far as it leaves little else unexplained, less twice what so many payments would show by chance: a
    shift by one hour looks much like none.
    """
    off, by_chance = found - usual, usual * (1 - usual) / max(count, 1)
    best, explained = 0.0, 0.0
    for hours in range(1, 24):
        shifted = np.roll(usual, hours) - usual
        part = float(np.clip(off @ shifted / (shifted @ shifted), 0, 1))
        left = 1 - float(((off - part * shifted) ** 2).sum() / max((off**2).sum(), 1e-12))
        if left > explained:
            noise = math.sqrt(by_chance @ shifted**2) / (shifted @ shifted)
            best, explained = max(0.0, float(part - 2 * noise)), left
    return best * max(0.0, explained)


def _hours(ledger: Ledger, rows: slice | Ints) -> NDArray[np.float64]:
    moments = ledger.columns["timestamp"][rows]
    moments = moments[~np.isnat(moments)]
    hours = (moments - moments.astype("datetime64[D]")).astype("timedelta64[h]").astype(int)
    return np.bincount(hours, minlength=24) / max(len(hours), 1)


def _new_categories(now: NDArray, before: NDArray) -> Figure:
    """The share of payments of a category that the reference does not have."""
    counts = np.bincount(before + 1, minlength=max(now.max(initial=0), before.max(initial=0)) + 2)
    known = counts >= KNOWN_SHARE * len(before)
    known[0] = True  # missing is counted elsewhere
    return share(int((~known[now + 1]).sum()), len(now))


def _volume(ledger: Ledger, as_of: int) -> Figure:
    """The least of the last three days, as a share of the median of that weekday in the eight weeks before; an empty day is 0."""
    shares = []
    for day in range(as_of - NEW_DAYS, as_of):
        past = [float(_count(ledger, day - 7 * week)) for week in range(1, 9)]
        usual = float(np.median([count for count in past if count] or [math.nan]))
        if usual > 0:  # on some weekdays some shops are closed
            shares.append(_count(ledger, day) / usual)
    return Figure(min(shares, default=math.nan), 0.0, len(shares))


def _count(ledger: Ledger, day: int) -> int:
    rows = ledger.rows(day, day + 1)
    return rows.stop - rows.start
