"""Keep feature rows in Feast: write them, join them point in time, materialise them, read them online."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import Any

import feature_repo.quick_feast  # noqa: F401  # isort: skip
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView, RepoConfig
from feast.errors import FeatureViewNotFoundException
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from feature_repo.definitions import RECOMMENDER, Catalogue, View, feast_objects, schemas
from feature_repo.evolution import changes
from ingest.errors import FeatureError
from ingest.whole_files import write_json, write_whole

#: Joined rows by root, key, moment and the files they came from. Each join costs half a second, nearly all of it to compile the query, and
#: the steps of a week ask for the same two Mondays again and again. A new or rewritten file makes another name, never a stale answer.
_joined: OrderedDict[tuple[object, ...], pd.DataFrame] = OrderedDict()
JOINED_AT_MOST = 4

Ids = Sequence[str | int]
_VALUES: Mapping[str, Callable[[Any], Value]] = {
    "string": lambda text: Value(string_val=text),
    "int64": lambda number: Value(int64_val=number),
}


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """A key's features by name, lists as arrays, and the moment since which the oldest of them was available (UTC)."""

    values: Mapping[str, Any]
    available_at: datetime


class FeastStore:
    """The feature store of one catalogue: DuckDB over Parquet offline, SQLite (or what `online` says) online.

    `root` holds the rows, Feast's registry and the SQLite file, and belongs to this catalogue alone. `online` is Feast's
    `online_store` block, for example `{"type": "redis", "connection_string": "localhost:6379"}`. `patience_s` is how long one
    read of the online store may wait for a lock, or for Redis's next bytes; without it SQLite waits five seconds and Redis
    without limit. It bounds neither a slow disk, nor the look-up of Redis's name, nor a server that sends a byte at a time.
    """

    def __init__(
        self,
        root: Path,
        online: dict[str, str] | None = None,
        catalogue: Catalogue = RECOMMENDER,
        *,
        patience_s: float | None = None,
    ) -> None:
        self.root, self.catalogue = root, catalogue
        self._patience_s = patience_s
        if online and online["type"] == "redis" and patience_s is not None:
            hurried = f"socket_timeout={patience_s},socket_connect_timeout={patience_s},retry=null"
            online = {**online, "connection_string": f"{online.get('connection_string', 'localhost:6379')},{hurried}"}
        self.rows = root / "rows"
        root.mkdir(parents=True, exist_ok=True)
        self._feast = FeatureStore(
            config=RepoConfig(
                project="mlops",
                provider="local",
                registry=str(root / "registry.db"),
                offline_store={"type": "duckdb"},
                online_store=online or {"type": "sqlite", "path": str(root / "online.db")},
                entity_key_serialization_version=3,
                repo_path=str(root),
            )
        )

    def apply(self, *, read_by_live_models: Collection[str] = ()) -> None:
        """Register the definitions with Feast, if what changed since last time may change.

        Raises FeatureError with the matrix' reason when a live model would lose a feature, or a type would change.
        """
        stored = self.root / "definitions.json"
        if stored.exists():
            old, new = json.loads(stored.read_text()), schemas(self.catalogue)
            refused = [c for c in changes(old, new, read_by_live_models=read_by_live_models) if not c.allowed]
            if refused:
                raise FeatureError("; ".join(f"{c.kind} of {c.feature} is refused: {c.reason}" for c in refused))
        for view in self.catalogue.views:
            (self.rows / view.name).mkdir(parents=True, exist_ok=True)
        self._feast.apply(feast_objects(self.rows, self.catalogue))
        write_json(stored, schemas(self.catalogue))

    def has_rows(self, as_of: datetime) -> bool:
        """Whether every view has its rows of that day."""
        return all(self._path(view, as_of).exists() for view in self.catalogue.views)

    def write_rows(self, events: pa.Table, as_of: datetime) -> dict[str, int]:
        """Compute every view as of a moment and append its rows; returns rows by view. Rewriting gives the same file.

        `events` has the catalogue's `columns`, and nothing that was not known at `as_of`.
        """
        con = ibis.duckdb.connect()
        con.con.register(self.catalogue.events, events)
        known = con.table(self.catalogue.events)
        counts = {}
        for view in self.catalogue.views:
            rows = con.to_pyarrow(view.expression(known, as_of).order_by(view.key))
            write_whole(self._path(view, as_of), partial(pq.write_table, rows))
            counts[view.name] = rows.num_rows
        con.disconnect()
        return counts

    def materialise(self, as_of: datetime) -> bool:
        """Copy the rows available at `as_of` that are read online into the online store, never backwards in time.

        Says whether it did.
        """
        marker = self.root / "materialised.json"
        if marker.exists() and json.loads(marker.read_text())["as_of"] >= as_of.isoformat():
            return False
        moment = as_of.replace(tzinfo=UTC)
        with redirect_stdout(StringIO()):  # Feast prints its progress, in colour, into whatever a caller prints
            self._feast.materialize(start_date=moment - self.catalogue.ttl, end_date=moment + timedelta(seconds=1))
        write_json(marker, {"as_of": as_of.isoformat()})
        return True

    def keys(self, view: str, as_of: datetime) -> list[Any]:
        """The ids that have a row of that day in a view, sorted."""
        [found] = [v for v in self.catalogue.views if v.name == view]
        return pq.read_table(self._path(found, as_of), columns=[found.key])[found.key].to_pylist()

    def historical(self, key: str, ids: Ids, as_of: datetime) -> pd.DataFrame:
        """Feature rows of `ids` as they were known at `as_of` (Feast's point-in-time join), in the order of `ids`.

        One row per id with the columns of every view of that key; an id without rows is all null.
        """
        name = (self.root, key, as_of, self._files(key, as_of))
        if name not in _joined:
            # All who have a row that may count, so that whoever is asked for next is there; the others have nothing to join.
            _joined[name] = self._join(key, sorted(self._known(key, as_of) or set(ids)), as_of)
            while len(_joined) > JOINED_AT_MOST:
                _joined.popitem(last=False)
        return _joined[name].reindex(list(ids)).reset_index()

    def _join(self, key: str, ids: Ids, as_of: datetime) -> pd.DataFrame:
        entities = pd.DataFrame({key: list(ids), "event_timestamp": pd.Timestamp(as_of, tz="UTC")})
        features = [f"{v.name}:{name}" for v in self.catalogue.views_of(key) for name in self.catalogue.schema(v)]
        frame = self._feast.get_historical_features(entities, features=features).to_df()
        return frame.set_index(key).drop(columns="event_timestamp")

    def _known(self, key: str, as_of: datetime) -> set[Any]:
        files = (Path(file) for file, _ in self._files(key, as_of))
        fresh = (file for file in files if datetime.fromisoformat(file.stem) >= as_of - self.catalogue.ttl)
        return {known for file in fresh for known in pq.read_table(file, columns=[key])[key].to_pylist()}

    def _files(self, key: str, as_of: datetime) -> tuple[tuple[str, int], ...]:
        views = self.catalogue.views_of(key)
        files = (file for view in views for file in (self.rows / view.name).glob("*.parquet"))
        return tuple(sorted((str(f), f.stat().st_mtime_ns) for f in files if f.stem <= f"{as_of:%Y-%m-%d}"))

    def online_rows(self, key: str, ids: Ids) -> list[OnlineRow | None]:
        """Rows of the online store for some values of a key, in their order; None where the store has nothing about one.

        By the call of Feast's online stores that `get_online_features` makes, too: .1 ms a key instead of .4, for nothing is
        looked up again. A row that cannot be parsed counts as none, and costs nobody else theirs. How old a row is, it says
        itself. Raises FeatureError when the store does not answer or was never applied, or nothing is read online by that key.
        """
        if key not in self._online_keys:
            raise FeatureError(f"Nothing is read online by the key {key!r}; the keys are {sorted(self._online_keys)}.")
        value_of = self._online_keys[key]
        keys = [EntityKey(join_keys=[key], entity_values=[value_of(one)]) for one in ids]
        try:
            store, config = self._online_store
            by_view = [store.online_read(config, view, keys, names) for view, names in self._online_views[key]]
        except DecodeError:
            return [None] if len(ids) == 1 else [self.online_rows(key, [one])[0] for one in ids]
        except (sqlite3.Error, RedisError, OSError) as error:
            raise FeatureError(f"The online store does not answer: {error}. Features cannot be read.") from error
        return [_joined_row(parts) for parts in zip(*by_view, strict=True)]

    def online(self, key: str, ids: Ids) -> pd.DataFrame:
        """The same rows as a frame, to be compared with `historical`; an unknown id is all null."""
        rows = [row.values if row else {} for row in self.online_rows(key, ids)]
        columns = [name for _, names in self._online_views[key] for name in names]
        return pd.DataFrame({key: list(ids), **{c: [row.get(c) for row in rows] for c in columns}})

    @cached_property
    def _online_keys(self) -> dict[str, Callable[[Any], Value]]:
        """What rows are read by online, and how one becomes a value of Feast's."""
        return {view.key: _VALUES[self.catalogue.key_type(view.key)] for view in self.catalogue.views if view.online}

    @cached_property
    def _online_views(self) -> dict[str, list[tuple[Any, list[str]]]]:
        """What to read by each key: the views that Feast's registry holds, so that a new definition takes a new process."""
        found: dict[str, list[tuple[Any, list[str]]]] = {key: [] for key in self._online_keys}
        for view in self.catalogue.views:
            if view.online:
                registered = self._registered(view)
                found[view.key].append((registered, [feature.name for feature in registered.features]))
        return found

    def _registered(self, view: View) -> FeatureView:
        try:
            return self._feast.get_feature_view(view.name)
        except FeatureViewNotFoundException as error:
            raise FeatureError(
                f"{self.root} holds no view {view.name!r} yet, so that nothing can be read online; apply the definitions first."
            ) from error

    @cached_property
    def _online_store(self) -> tuple[Any, RepoConfig]:
        store, config = self._feast._get_provider().online_store, self._feast.config
        if config.online_store.type == "sqlite" and self._patience_s is not None:
            store._get_conn(config).execute(f"PRAGMA busy_timeout = {round(self._patience_s * 1000)}")  # type: ignore[attr-defined]
        return store, config

    def _path(self, view: View, as_of: datetime) -> Path:
        return self.rows / view.name / f"{as_of:%Y-%m-%d}.parquet"


def _joined_row(parts: Sequence[tuple[datetime | None, Mapping[str, Value] | None]]) -> OnlineRow | None:
    """One row of what each view holds about a key, or None when a view holds nothing."""
    stamps = [stamp for stamp, values in parts if stamp is not None and values]
    if len(stamps) < len(parts):
        return None
    values = {name: _plain(value) for _, values in parts for name, value in (values or {}).items()}
    return OnlineRow(values, min(stamps).replace(tzinfo=None))


def _plain(value: Value) -> Any:
    """What a Feast value holds: a number, a text, an array of either, or None."""
    kind = value.WhichOneof("val")
    if kind is None:
        return None
    held = getattr(value, kind)
    return np.array(held.val) if kind.endswith("_list_val") else held
