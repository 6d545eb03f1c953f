"""Keep feature rows in Feast: write them, join them point in time, materialise them, read them online."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, RepoConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from feature_repo.definitions import TTL, VIEWS, View, feast_objects, schemas
from feature_repo.evolution import changes
from ingest.errors import FeatureError
from ingest.whole_files import write_json, write_whole

#: Joined rows by root, key, moment and the files they came from. Each join costs half a second, nearly all of it to compile the query, and
#: the steps of a week ask for the same two Mondays again and again. A new or rewritten file makes another name, never a stale answer.
_joined: OrderedDict[tuple[object, ...], pd.DataFrame] = OrderedDict()
JOINED_AT_MOST = 4


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """A customer's features by name, lists as arrays, and the moment since which the oldest of them was available (UTC)."""

    values: Mapping[str, Any]
    available_at: datetime


class FeastStore:
    """The feature store of one workspace: DuckDB over Parquet offline, SQLite (or what `online` says) online.

    `root` holds the rows, Feast's registry and the SQLite file. `online` is Feast's `online_store` block,
    for example `{"type": "redis", "connection_string": "localhost:6379"}`. `patience_s` is how long one read of the online
    store may wait for a lock, or for Redis's next bytes; without it SQLite waits five seconds and Redis without limit. It bounds
    neither a slow disk, nor the look-up of Redis's name, nor a server that sends a byte at a time.
    """

    def __init__(self, root: Path, online: dict[str, str] | None = None, *, patience_s: float | None = None) -> None:
        self.root = root
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
            old = json.loads(stored.read_text())
            refused = [c for c in changes(old, schemas(), read_by_live_models=read_by_live_models) if not c.allowed]
            if refused:
                raise FeatureError("; ".join(f"{c.kind} of {c.feature} is refused: {c.reason}" for c in refused))
        for view in VIEWS:
            (self.rows / view.name).mkdir(parents=True, exist_ok=True)
        self._feast.apply(feast_objects(self.rows))
        write_json(stored, schemas())

    def has_rows(self, as_of: datetime) -> bool:
        """Whether every view has its rows of that Monday."""
        return all(self._path(view, as_of).exists() for view in VIEWS)

    def write_rows(self, interactions: pa.Table, as_of: datetime) -> dict[str, int]:
        """Compute every view as of a moment and append its rows; returns rows by view. Rewriting gives the same file."""
        con = ibis.duckdb.connect()
        con.con.register("interactions", interactions)
        events = con.table("interactions")
        counts = {}
        for view in VIEWS:
            rows = con.to_pyarrow(view.expression(events, as_of).order_by(view.key))
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
            self._feast.materialize(start_date=moment - TTL, end_date=moment + timedelta(seconds=1))
        write_json(marker, {"as_of": as_of.isoformat()})
        return True

    def keys(self, view: str, as_of: datetime) -> list[str]:
        """The ids that have a row of that Monday in a view, sorted."""
        [found] = [v for v in VIEWS if v.name == view]
        return pq.read_table(self._path(found, as_of), columns=[found.key])[found.key].to_pylist()

    def historical(self, key: str, ids: Sequence[str], as_of: datetime) -> pd.DataFrame:
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

    def _join(self, key: str, ids: Sequence[str], as_of: datetime) -> pd.DataFrame:
        entities = pd.DataFrame({key: list(ids), "event_timestamp": pd.Timestamp(as_of, tz="UTC")})
        frame = self._feast.get_historical_features(entities, features=_references(key)).to_df()
        return frame.set_index(key).drop(columns="event_timestamp")

    def _known(self, key: str, as_of: datetime) -> set[str]:
        files = (Path(file) for file, _ in self._files(key, as_of))
        fresh = (file for file in files if datetime.fromisoformat(file.stem) >= as_of - TTL)
        return {known for file in fresh for known in pq.read_table(file, columns=[key])[key].to_pylist()}

    def _files(self, key: str, as_of: datetime) -> tuple[tuple[str, int], ...]:
        files = (file for view in VIEWS if view.key == key for file in (self.rows / view.name).glob("*.parquet"))
        return tuple(sorted((str(f), f.stat().st_mtime_ns) for f in files if f.stem <= f"{as_of:%Y-%m-%d}"))

    def online_rows(self, user_ids: Sequence[str]) -> list[OnlineRow | None]:
        """Customers' rows of the online store, in the order of the ids; None where the store has nothing about one.

        By the call of Feast's online stores that `get_online_features` makes, too: .1 ms a customer instead of .4, for
        nothing is looked up again. A row that cannot be parsed counts as none, and costs nobody else theirs. Raises
        FeatureError when the store does not answer.
        """
        keys = [EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)]) for user_id in user_ids]
        try:
            store, config = self._online_store
            by_view = [store.online_read(config, view, keys, names) for view, names in self._online_views]
        except DecodeError:
            return [None] if len(user_ids) == 1 else [self.online_rows([user_id])[0] for user_id in user_ids]
        except (sqlite3.Error, RedisError, OSError) as error:
            raise FeatureError(f"The online store does not answer: {error}. Features cannot be read.") from error
        return [_joined_row(parts) for parts in zip(*by_view, strict=True)]

    def online(self, user_ids: Sequence[str]) -> pd.DataFrame:
        """The same rows as a frame, to be compared with `historical`; an unknown id is all null."""
        rows = [row.values if row else {} for row in self.online_rows(user_ids)]
        columns = [name for _, names in self._online_views for name in names]
        return pd.DataFrame({"user_id": list(user_ids), **{c: [row.get(c) for row in rows] for c in columns}})

    @cached_property
    def _online_views(self) -> list[tuple[Any, list[str]]]:
        """What to read of a customer: the views that Feast's registry holds, so that a new definition takes a new process."""
        views = [self._feast.get_feature_view(v.name) for v in VIEWS if v.online and v.key == "user_id"]
        return [(view, [feature.name for feature in view.features]) for view in views]

    @cached_property
    def _online_store(self) -> tuple[Any, RepoConfig]:
        store, config = self._feast._get_provider().online_store, self._feast.config
        if config.online_store.type == "sqlite" and self._patience_s is not None:
            store._get_conn(config).execute(f"PRAGMA busy_timeout = {round(self._patience_s * 1000)}")  # type: ignore[attr-defined]
        return store, config

    def _path(self, view: View, as_of: datetime) -> Path:
        return self.rows / view.name / f"{as_of:%Y-%m-%d}.parquet"


def _references(key: str, views: Sequence[View] = VIEWS) -> list[str]:
    references = [f"{view.name}:{name}" for view in views if view.key == key for name in view.schema()]
    if not references:
        raise FeatureError(f"No such feature view has the key {key!r}; the keys are {sorted({v.key for v in views})}.")
    return references


def _joined_row(parts: Sequence[tuple[datetime | None, Mapping[str, Value] | None]]) -> OnlineRow | None:
    """One row of what each view holds about a customer, or None when a view holds nothing."""
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
