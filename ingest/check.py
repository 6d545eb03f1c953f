"""Hold one delivery against its source's contract: which rows are good, which are broken, or why none can be trusted.

Pure: what the lake already holds is asked through `History`, and the answer is a value. Two levels:
a *fault* condemns the whole batch (the source changed, so even its readable rows mean something else now);
a *row rule* condemns one row.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from ingest.contract import Contract, TypedRows, read
from ingest.source import Delivery

# Shares are of a batch's rows. In 75 weeks of Online Retail II at most 0.16 % of a week's prices were twenty times
# above or below the item's usual one: thirty times fewer than the limit. Pounds sent as pence are a hundred times.
PRICE_FACTOR = 20.0
STRANGE_PRICES_TOLERATED = 0.05
# Clocks a little ahead are bad rows; above one in a hundred the time zone or the clock of the whole feed is in doubt.
FUTURE_TOLERATED = 0.01
# A resent file may have gained a few corrections, so it need not repeat every single row.
REPEATED_TOLERATED = 0.90
# A share of a handful of rows says nothing: below this many bad rows (or all of them) only the rows are condemned.
FEWEST_TO_DOUBT_A_BATCH = 3

_IDENTITY = ["user_id", "item_id", "event", "event_time", "quantity", "price"]


class History(Protocol):
    """What earlier batches of the same source left behind."""

    def weeks_with(self, content: str) -> list[date]:
        """Name the weeks for which exactly this content was delivered before."""
        ...

    def rows_between(self, first: datetime, last: datetime) -> pd.DataFrame:
        """Fetch the canonical rows in the lake whose event_time lies in [first, last]."""
        ...

    def usual_prices(self) -> "pd.Series[float]":
        """Give the usual price of each item lately, by item_id."""
        ...


@dataclass(frozen=True)
class Fault:
    """One reason to condemn a whole batch: a fixed name, and a sentence with the figures."""

    rule: str
    explanation: str


@dataclass(frozen=True)
class Inspection:
    """What became of each row: `broken[n]` names the rule that row n breaks, or is None."""

    frame: pd.DataFrame
    broken: pd.Series
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]

    @property
    def accepted(self) -> pd.DataFrame:
        """The sound rows; none of a condemned batch."""
        return self.frame[self.broken.reindex(self.frame.index).isna()]


def inspect(delivery: Delivery, contract: Contract, history: History) -> Inspection:
    """Judge a delivery; an empty one is in order, because a week without events is a fact and not a fault."""
    rows = delivery.rows
    if rows.num_rows == 0:
        return Inspection(pd.DataFrame(), pd.Series(dtype=object), (), ("empty delivery",))
    if absent := missing_columns(rows, contract):
        return _condemned(rows, absent)

    typed = read(rows, contract)
    broken = broken_rows(typed, contract, delivery.arrived)
    sound = typed.frame[broken.isna()]
    repeated = _repeated(sound, history)
    faults = [
        *retyped_columns(typed, contract),
        *missing_ids(typed, contract),
        *future_timestamps(typed, delivery.arrived),
        *duplicated_batch(delivery, repeated, history),
        *changed_prices(sound, history.usual_prices()),
    ]
    if faults:
        return _condemned(rows, faults)
    broken = broken.mask(repeated.reindex(broken.index, fill_value=False), "already in the lake")
    return Inspection(typed.frame, broken, (), tuple(_notes(delivery, contract, typed, broken)))


def content_hash(rows: pa.Table) -> str:
    """Fingerprint published rows: the same columns, kinds and cells in the same order give the same text."""
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(rows.combine_chunks(), sink)  # unlike IPC bytes, not affected by slices and validity bitmaps
    return hashlib.sha256(str(rows.schema.remove_metadata()).encode() + sink.getvalue()).hexdigest()


# --- row rules --------------------------------------------------------------------------------------------------------


def broken_rows(typed: TypedRows, contract: Contract, arrived: datetime) -> "pd.Series[str]":
    """Name the first rule that each row breaks, None for a sound row; so that the counts of rules add up to rows."""
    rules = [
        (f"{canonical} unreadable", bad) for canonical, bad in typed.unreadable.items() if canonical != "event_time"
    ]
    rules += list(_violations(typed.frame, contract))
    rules += [("timestamp in the future", typed.frame["event_time"] >= arrived)]
    broken = pd.Series(None, typed.frame.index, dtype=object)
    for rule, breaks in rules:
        broken = broken.mask(broken.isna() & breaks, rule)
    return broken


def _violations(frame: pd.DataFrame, contract: Contract) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    # Check by check, not `rules.validate(frame)`: that raises a table of failing cells, 50 ms for each real week.
    for name, column in contract.rules.columns.items():
        for check in column.checks:
            yield check.name, ~check(frame[name]).check_output


# --- faults of a whole batch ------------------------------------------------------------------------------------------


def missing_columns(rows: pa.Table, contract: Contract) -> list[Fault]:
    """Doubt a batch that lacks a promised column: a default in its place would be invented data."""
    there = contract.published_names(rows.column_names)
    return [
        Fault("missing column", f"{' or '.join(column.published)} is not there; found {', '.join(rows.column_names)}")
        for canonical, column in contract.columns.items()
        if column.required and canonical not in there
    ]


def retyped_columns(typed: TypedRows, contract: Contract) -> list[Fault]:
    """Doubt a batch in which more than a few cells of a column are of another kind."""
    return [
        Fault("retyped column", f"{bad.sum():,} of {bad.size:,} cells of {canonical} cannot be read as a {kind}")
        for canonical, bad in typed.unreadable.items()
        for kind in [contract.columns[canonical].kind]
        if _beyond(bad, contract.columns[canonical].unreadable_tolerated)
    ]


def missing_ids(typed: TypedRows, contract: Contract) -> list[Fault]:
    """Doubt a batch with more empty ids than is usual for this source: what is left may not be a fair sample."""
    return [
        Fault(
            "ids missing", f"{empty.mean():.0%} of {canonical} are empty, up to {tolerated:.0%} is usual for {source}"
        )
        for source in [contract.source]
        for canonical, empty in typed.missing.items()
        for tolerated in [contract.columns[canonical].missing_tolerated]
        if _beyond(empty, tolerated)
    ]


def future_timestamps(typed: TypedRows, arrived: datetime) -> list[Fault]:
    """Doubt a batch that describes what had not happened yet when it arrived."""
    ahead = typed.frame["event_time"] >= arrived
    if not _beyond(ahead, FUTURE_TOLERATED):
        return []
    return [
        Fault("timestamps in the future", f"{ahead.sum():,} rows lie at or after their arrival on {arrived:%Y-%m-%d}")
    ]


def duplicated_batch(delivery: Delivery, repeated: "pd.Series[bool]", history: History) -> list[Fault]:
    """Doubt a batch that was delivered before, under another week's name or with a few rows changed."""
    weeks = [week for week in history.weeks_with(content_hash(delivery.rows)) if week != delivery.week]
    if weeks:
        return [Fault("duplicated batch", f"exactly these rows were delivered for the week of {weeks[0]}")]
    if repeated.size and repeated.mean() >= REPEATED_TOLERATED:
        return [Fault("duplicated batch", f"{repeated.mean():.0%} of its rows are already in the lake")]
    return []


def changed_prices(sound: pd.DataFrame, usual: "pd.Series[float]") -> list[Fault]:
    """Doubt the unit of prices where too many are further from the item's usual one than any market moves them."""
    ratio = (sound["price"] / sound["item_id"].map(usual)).dropna().astype("float64")
    strange = (ratio > PRICE_FACTOR) | (ratio < 1 / PRICE_FACTOR)
    if not _beyond(strange, STRANGE_PRICES_TOLERATED):
        return []
    factor = ratio[strange].median()
    return [
        Fault("unit of price changed", f"{strange.mean():.0%} of prices are about {factor:,.4g} times the usual ones")
    ]


def _beyond(bad: "pd.Series[bool]", tolerated: float) -> bool:
    return bool(bad.sum() > tolerated * bad.size and bad.sum() >= min(FEWEST_TO_DOUBT_A_BATCH, bad.size))


def _repeated(sound: pd.DataFrame, history: History) -> "pd.Series[bool]":
    """Flag the rows that an earlier batch has already brought; equal rows within one batch are two real lines."""
    if sound.empty:
        return pd.Series(dtype=bool)
    earlier = history.rows_between(sound["event_time"].min(), sound["event_time"].max())
    return _fingerprints(sound).isin(_fingerprints(earlier))


def _fingerprints(frame: pd.DataFrame) -> "pd.Series[int]":
    return pd.util.hash_pandas_object(frame[_IDENTITY], index=False)


def _condemned(rows: pa.Table, faults: list[Fault]) -> Inspection:
    broken = pd.Series(faults[0].rule, pd.RangeIndex(rows.num_rows), dtype=object)
    return Inspection(
        pd.DataFrame(), broken, tuple(faults), tuple(f"{fault.rule}: {fault.explanation}" for fault in faults)
    )


def _notes(delivery: Delivery, contract: Contract, typed: TypedRows, broken: pd.Series) -> Iterator[str]:
    known = {name for column in contract.columns.values() for name in column.published}
    if added := [name for name in delivery.rows.column_names if name not in known]:
        yield f"added column: {', '.join(added)}"
    for name, count in typed.respelled_ids.items():
        if count:
            yield f"mixed ids: {count:,} of {name} were spelled like 13085.0 and are kept as 13085"
    late = int(np.sum(typed.frame["event_time"][broken.isna()] < pd.Timestamp(delivery.week)))
    if late:
        yield f"late rows: {late:,} describe weeks before {delivery.week}"
