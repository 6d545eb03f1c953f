"""Declare the entities, feature views and feature services to Feast, one view for each feature expression.

The schema of a view is read off the expression itself, so that a feature is defined in one place only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import feature_repo.quick_feast  # noqa: F401  # isort: skip
import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, FeastType, Float64, Int64, String

from feature_repo import card_features, features
from feature_repo.card_windows import PAST
from ingest.errors import FeatureError
from ingest.schema import INTERACTIONS

Expression = Callable[[ibis.Table, datetime], ibis.Table]


@dataclass(frozen=True)
class View:
    """One feature view: its key, the expression that computes all of its rows as of a moment, and whether it is read online.

    Whoever pays or shops is read one by one while they wait. A shop's items are not: the service holds the whole catalogue in
    its index, and rows that nobody reads would make up half of every materialisation.
    """

    name: str
    key: str
    expression: Expression
    online: bool = True


@dataclass(frozen=True)
class Catalogue:
    """What one model family reads: its views, the events that they are computed from, and how long a row is good.

    `events` is what SQL calls those events, `columns` their schema; a view's key is one of them, a text or an int64. A row
    older than `ttl` is not served and not trained on.
    """

    service: str
    views: tuple[View, ...]
    events: str
    columns: pa.Schema
    ttl: timedelta

    def views_of(self, key: str) -> list[View]:
        """The views with that key. Raises FeatureError for a key that none has."""
        found = [view for view in self.views if view.key == key]
        if not found:
            keys = sorted({view.key for view in self.views})
            raise FeatureError(f"No such feature view has the key {key!r}; the keys are {keys}.")
        return found

    def key_type(self, key: str) -> str:
        """`string` or `int64`."""
        return str(self.columns.field(key).type)

    def schema(self, view: View) -> dict[str, str]:
        """Feature name to type name, in the expression's order, without the key and the stamp."""
        columns = self._at_some_moment(view).schema()
        return {
            name: _type_name(view.name, name, kind)
            for name, kind in columns.items()
            if name not in (view.key, "available_at")
        }

    @cache  # noqa: B019 - catalogues are few and live as long as the process; compiling a view takes a tenth of a second
    def sql(self, view: View) -> str:
        """What the expression computes, as DuckDB runs it: changes when the computation does, not when its text does."""
        return str(ibis.to_sql(self._at_some_moment(view), dialect="duckdb"))

    @cache  # noqa: B019
    def _at_some_moment(self, view: View) -> ibis.Table:
        events = ibis.table(ibis.Schema.from_pyarrow(self.columns), name=self.events)
        return view.expression(events, datetime(2000, 1, 3))


RECOMMENDER = Catalogue(
    service="recommender",
    views=(
        View("user_features", "user_id", features.user_features),
        View("user_history", "user_id", features.user_history),
        View("item_features", "item_id", features.item_features, online=False),
    ),
    events="interactions",
    columns=INTERACTIONS,
    # Rows are rewritten every Monday, so two missed Mondays are bridged and a third one shows up as missing features
    # instead of silently stale ones.
    ttl=timedelta(days=21),
)


def _at_midnight(
    windows: Callable[[ibis.Table], ibis.Table], key: str, past: ibis.Table, midnight: datetime
) -> ibis.Table:
    """The rows of a window expression with their stamp, and a row of nulls for each key of the past that has none.

    Who paid 29 days ago and not since has no windows today. Without a row that says so, yesterday's would be the newest until
    its time to live ended, and serving would see somebody whom `window_columns` does not know.
    """
    seen = past.filter(past.age_days >= 1, past[key].notnull()).select(key).distinct()
    return features.stamp(seen.left_join(windows(past), key).drop(f"{key}_right"), midnight)


CARDS = Catalogue(
    service="fraud",
    views=(
        View(
            "customer_windows",
            "customer_id",
            partial(_at_midnight, card_features.customer_windows, "customer_id"),
        ),
        View(
            "terminal_windows",
            "terminal_id",
            partial(_at_midnight, card_features.terminal_windows, "terminal_id"),
        ),
    ),
    events="past",
    columns=PAST,
    # Rows are rewritten every midnight, so two missed nights are bridged. Beyond that the count of one day is of a day long
    # gone, and a terminal that was skimmed since still looks safe: unknown is then nearer to the truth.
    ttl=timedelta(days=3),
)
PAST_DAYS = card_features.RISK_DELAY_DAYS + card_features.WINDOW_DAYS + CARDS.ttl.days
"""Days of payments that the rows of CARDS are computed from: the longest window, and for as long as an older row is served."""

_FEAST_TYPES: dict[str, FeastType] = {
    "string": String,
    "int64": Int64,
    "float64": Float64,
    "list<string>": Array(String),
    "list<int64>": Array(Int64),
    "list<float64>": Array(Float64),
}


def _type_name(view: str, feature: str, kind: dt.DataType) -> str:
    name = (
        f"list<{kind.value_type.copy(nullable=True)}>" if isinstance(kind, dt.Array) else str(kind.copy(nullable=True))
    )
    if name not in _FEAST_TYPES:
        raise FeatureError(f"Feature {view}:{feature} has type {name}; cast it to one of {', '.join(_FEAST_TYPES)}.")
    return name


def schemas(catalogue: Catalogue = RECOMMENDER) -> dict[str, dict[str, str]]:
    """All views with their features and types: what two versions of the definitions are compared by."""
    return {view.name: catalogue.schema(view) for view in catalogue.views}


def service_version(catalogue: Catalogue = RECOMMENDER) -> str:
    """Twelve hex digits that change exactly when a feature is added, renamed, retyped, dropped or computed otherwise."""
    computed = [schemas(catalogue), [catalogue.sql(view) for view in catalogue.views]]
    return hashlib.sha256(json.dumps(computed).encode()).hexdigest()[:12]


def feast_objects(rows: Path, catalogue: Catalogue = RECOMMENDER) -> list[Any]:
    """Everything `feast apply` needs, reading feature rows from `rows/<view>/*.parquet`."""
    keys = dict.fromkeys(view.key for view in catalogue.views)
    entities = {
        key: Entity(name=key, join_keys=[key], value_type=ValueType[catalogue.key_type(key).upper()]) for key in keys
    }
    views = [_feast_view(catalogue, view, entities[view.key], rows) for view in catalogue.views]
    service = FeatureService(name=catalogue.service, features=list(views), tags={"version": service_version(catalogue)})
    return [*entities.values(), *views, service]


def _feast_view(catalogue: Catalogue, view: View, entity: Entity, rows: Path) -> FeatureView:
    source = FileSource(
        name=f"{view.name}_rows",
        path=str(rows / view.name / "*.parquet"),
        file_format=ParquetFormat(),
        # The moment a row became available, not the moment it describes: Feast joins on this column, so a late
        # correction cannot reach back. `created_timestamp` would only break ties, never filter.
        timestamp_field="available_at",
    )
    fields = [Field(name=name, dtype=_FEAST_TYPES[kind]) for name, kind in catalogue.schema(view).items()]
    fields.append(Field(name=view.key, dtype=_FEAST_TYPES[catalogue.key_type(view.key)]))
    return FeatureView(
        name=view.name, entities=[entity], ttl=catalogue.ttl, schema=fields, source=source, online=view.online
    )
