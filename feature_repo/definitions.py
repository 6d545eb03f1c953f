"""Declare the entities, feature views and feature service to Feast, one view for each feature expression.

The schema of a view is read off the expression itself, so that a feature is defined in one place only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, FeastType, Float64, Int64, String

from feature_repo import features
from ingest.errors import FeatureError
from ingest.schema import INTERACTIONS

SERVICE = "recommender"

#: A feature row older than this is not served and not trained on. Rows are rewritten every Monday, so two missed
#: Mondays are bridged and a third one shows up as missing features instead of silently stale ones.
TTL = timedelta(days=21)

Expression = Callable[[ibis.Table, datetime], ibis.Table]


@dataclass(frozen=True)
class View:
    """One feature view: its key, the expression that computes all of its rows as of a moment, and whether it is read online.

    Customers are read one by one while they wait. Items are not: the service holds the whole catalogue in its index, and rows
    that nobody reads would make up half of every materialisation.
    """

    name: str
    key: str
    expression: Expression
    online: bool = True

    def schema(self) -> dict[str, str]:
        """Feature name to type name, in the expression's order, without the key and the stamp."""
        columns = self._at_some_moment().schema()
        return {
            name: _type_name(self.name, name, kind)
            for name, kind in columns.items()
            if name not in (self.key, "available_at")
        }

    @cache  # noqa: B019 - views are few and live as long as the process; compiling one takes a tenth of a second
    def sql(self) -> str:
        """What the expression computes, as DuckDB runs it: changes when the computation does, not when its text does."""
        return str(ibis.to_sql(self._at_some_moment(), dialect="duckdb"))

    @cache  # noqa: B019
    def _at_some_moment(self) -> ibis.Table:
        return self.expression(
            ibis.table(ibis.Schema.from_pyarrow(INTERACTIONS), name="interactions"), datetime(2000, 1, 3)
        )


VIEWS = (
    View("user_features", "user_id", features.user_features),
    View("user_history", "user_id", features.user_history),
    View("item_features", "item_id", features.item_features, online=False),
)

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


def schemas(views: tuple[View, ...] = VIEWS) -> dict[str, dict[str, str]]:
    """All views with their features and types: what two versions of the definitions are compared by."""
    return {view.name: view.schema() for view in views}


def service_version(views: tuple[View, ...] = VIEWS) -> str:
    """Twelve hex digits that change exactly when a feature is added, renamed, retyped, dropped or computed otherwise."""
    computed = [schemas(views), [view.sql() for view in views]]
    return hashlib.sha256(json.dumps(computed).encode()).hexdigest()[:12]


def feast_objects(rows: Path, views: tuple[View, ...] = VIEWS) -> list[Any]:
    """Everything `feast apply` needs, reading feature rows from `rows/<view>/*.parquet`."""
    entities = {
        "user_id": Entity(name="user_id", join_keys=["user_id"], value_type=ValueType.STRING),
        "item_id": Entity(name="item_id", join_keys=["item_id"], value_type=ValueType.STRING),
    }
    feast_views = [_feast_view(view, entities[view.key], rows) for view in views]
    service = FeatureService(name=SERVICE, features=list(feast_views), tags={"version": service_version(views)})
    return [*entities.values(), *feast_views, service]


def _feast_view(view: View, entity: Entity, rows: Path) -> FeatureView:
    source = FileSource(
        name=f"{view.name}_rows",
        path=str(rows / view.name / "*.parquet"),
        file_format=ParquetFormat(),
        # The moment a row became available, not the moment it describes: Feast joins on this column, so a late
        # correction cannot reach back. `created_timestamp` would only break ties, never filter.
        timestamp_field="available_at",
    )
    fields = [Field(name=name, dtype=_FEAST_TYPES[kind]) for name, kind in view.schema().items()]
    fields.append(Field(name=view.key, dtype=String))
    return FeatureView(name=view.name, entities=[entity], ttl=TTL, schema=fields, source=source, online=view.online)
