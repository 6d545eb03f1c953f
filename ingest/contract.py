"""What a source promises about its rows, and how published rows become canonical interactions.

A contract states columns and their kinds, row rules by name (a pandera schema over the canonical frame), and how much
of each usual defect is normal for that source. Holding a delivery against it is the job of `ingest/check.py`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc

from ingest.schema import PURCHASE
from ingest.timestamps import DateOrder, read_timestamps

Kind = Literal["id", "text", "number", "time"]
RowTest = Callable[[pd.Series], pd.Series]

# How exporting tools write "nothing" into a cell of text.
_NOTHING = ("", "nan", "none", "null", "<na>")
_FLOAT_SPELLING = r"^(-?\d+)\.0+$"


@dataclass(frozen=True)
class Column:
    """One promised column: its kind, the names under which it may be published, and what share of it may be bad."""

    kind: Kind
    published: tuple[str, ...]
    required: bool = True
    # A few bad cells are bad rows; with more than one in twenty the column is no longer what it was.
    unreadable_tolerated: float = 0.05
    # Where it matters that cells are empty (ids); above this share the whole batch is doubted.
    missing_tolerated: float = 1.0


@dataclass(frozen=True)
class Contract:
    """A source's promise. `columns` is keyed by canonical name; keys beyond those are material for `refine`."""

    source: str
    columns: Mapping[str, Column]
    rules: pandera.DataFrameSchema
    # What is particular to the source, on the typed frame: how it writes a return, which events mean a purchase.
    refine: Callable[[pd.DataFrame], pd.DataFrame] = field(default=lambda frame: frame)
    date_order: DateOrder | None = None  # of times such as 31/12/2010; None: they count as unreadable

    def published_names(self, names: Collection[str]) -> dict[str, str]:
        """Say under which published name each promised column is there; absent ones are left out."""
        return {
            canonical: name
            for canonical, column in self.columns.items()
            for name in [name for name in column.published if name in names][:1]
        }


@dataclass(frozen=True)
class TypedRows:
    """Published rows as typed canonical columns, with what could not be read; row n is still row n."""

    frame: pd.DataFrame
    missing: Mapping[str, pd.Series]  # canonical name -> True where the cell said nothing
    unreadable: Mapping[str, pd.Series]  # canonical name -> True where it said something of another kind
    respelled_ids: Mapping[str, int]  # published name -> how many ids were spelled like 13085.0


def read(rows: pa.Table, contract: Contract) -> TypedRows:
    """Read published rows as the contract's kinds say, dropping nothing.

    The frame holds user_id, item_id, event, item_text, country (text or None), event_time (datetime64[us], naive UTC),
    quantity and price (float64). Every required column must be there.
    """
    names = contract.published_names(rows.column_names)
    kinds = {canonical: contract.columns[canonical].kind for canonical in names}
    values = {
        canonical: _read_column(rows[name], kinds[canonical], contract.date_order) for canonical, name in names.items()
    }
    missing = {canonical: _trimmed(rows[name]).is_null().to_pandas() for canonical, name in names.items()}
    return TypedRows(
        frame=_completed(contract.refine(pd.DataFrame(values, index=pd.RangeIndex(rows.num_rows)))),
        missing=missing,
        unreadable={canonical: values[canonical].isna() & ~missing[canonical] for canonical in names},
        respelled_ids={name: _respelled(rows[name]) for canonical, name in names.items() if kinds[canonical] == "id"},
    )


def event_log_contract(
    source: str,
    *,
    carried: Collection[str] = ("event", "quantity", "price", "item_text", "country"),
    purchase_events: Collection[str] = (PURCHASE,),
    missing_ids_tolerated: float = 0.10,
    unreadable_times_tolerated: float = 0.05,
    date_order: DateOrder | None = None,
) -> Contract:
    """Promise a plain log: `user_id`, `item_id`, `timestamp`, and the optional columns that it has carried so far.

    Without `event` every row is a purchase; without `quantity`, or where it is blank, it is one piece.
    """

    def refine(frame: pd.DataFrame) -> pd.DataFrame:
        event = frame.get("event", pd.Series(PURCHASE, frame.index, dtype=object))
        quantity = frame.get("quantity", pd.Series(np.nan, frame.index))
        return frame.assign(event=event.where(~event.isin(purchase_events), PURCHASE), quantity=quantity.fillna(1.0))

    return Contract(
        source=source,
        columns={
            "user_id": Column("id", ("user_id",), missing_tolerated=missing_ids_tolerated),
            "item_id": Column("id", ("item_id",), missing_tolerated=missing_ids_tolerated),
            "event_time": Column("time", ("timestamp",), unreadable_tolerated=unreadable_times_tolerated),
            "event": Column("text", ("event",), required="event" in carried),
            "quantity": Column("number", ("quantity",), required="quantity" in carried),
            "price": Column("number", ("price",), required="price" in carried),
            "item_text": Column("text", ("item_text",), required="item_text" in carried),
            "country": Column("text", ("country",), required="country" in carried),
        },
        rules=row_rules(),
        refine=refine,
        date_order=date_order,
    )


def row_rules(
    item_rules: Mapping[str, RowTest] | None = None, *, price_required: bool = False
) -> pandera.DataFrameSchema:
    """List the row rules in the order in which a broken row is blamed, with a source's own rules on item ids.

    Many logs carry no price, so it may be missing; it is never zero or below, because a free line is a gift or a
    correction, not a choice of the customer.
    """
    return pandera.DataFrameSchema(
        {
            "user_id": _ruled({"user_id missing": pd.Series.notna}),
            "item_id": _ruled({"item_id missing": pd.Series.notna, **(item_rules or {})}),
            "event_time": _ruled({"timestamp unreadable": pd.Series.notna}),
            "event": _ruled({"event missing": pd.Series.notna}),
            "quantity": _ruled({"quantity not positive": lambda quantity: quantity > 0}),
            "price": _ruled({"price not positive": lambda price: (price > 0) | (price.isna() & (not price_required))}),
        }
    )


def _ruled(tests: Mapping[str, RowTest]) -> pandera.Column:
    checks = [pandera.Check(test, name=rule, ignore_na=False) for rule, test in tests.items()]
    return pandera.Column(checks=checks, nullable=True)


def _completed(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that a source does not carry: no price, text or country is known."""
    dtypes = {"price": "float64", "item_text": "object", "country": "object"}
    unknown = {name: pd.Series(None, frame.index, dtype) for name, dtype in dtypes.items() if name not in frame}
    return frame.assign(**unknown)


def _read_column(cells: pa.ChunkedArray, kind: Kind, date_order: DateOrder | None) -> pd.Series:
    match kind:
        case "text":
            return _series(_trimmed(cells))
        case "id":  # opaque text, in which 13085, 13085.0 and "13085" are the same customer
            return _series(pc.replace_substring_regex(_trimmed(cells), _FLOAT_SPELLING, r"\1"))
        case "number":
            numbers = pd.to_numeric(_series(_trimmed(cells)), errors="coerce").astype("float64")
            return numbers.where(np.isfinite(numbers))
        case "time":
            return pd.Series(read_timestamps(cells, date_order).to_numpy().astype("datetime64[us]"))


def _trimmed(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Spell every cell as text without surrounding blanks, null where it says nothing."""
    text = pc.utf8_trim_whitespace(_whole_where_possible(cells).cast(pa.string()))
    return pc.if_else(pc.is_in(pc.utf8_lower(text), pa.array(_NOTHING)), None, text)


def _whole_where_possible(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Undo what a null does to a column of whole numbers in pandas: 12345678901.0 would be spelled 1.23e+10."""
    if not pa.types.is_floating(cells.type):
        return cells
    try:
        return pc.if_else(pc.is_nan(cells), None, cells).cast(pa.int64())
    except pa.ArrowInvalid:  # at least one fraction: these are measures, not ids
        return cells


def _series(text: pa.ChunkedArray) -> pd.Series:
    return pd.Series(text.to_numpy(), dtype=object)


def _respelled(cells: pa.ChunkedArray) -> int:
    """Count ids spelled like 13085.0 in a column of text."""
    return pc.sum(pc.match_substring_regex(_trimmed(cells), _FLOAT_SPELLING)).as_py() or 0
