"""Keep the days of a stream as the documented tables, a file a day: read when they are asked for, written when they were lived."""

from __future__ import annotations

import shutil
from collections.abc import Callable, MutableSequence
from functools import partial
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feature_repo.card_features import FEATURES
from ingest.card_world import USUAL, CardWorld, ChangeOn
from ingest.whole_files import write_whole
from monitoring.fraud.stream import Lived, truth_of
from monitoring.fraud.stream_tables import features_of, scores_of
from monitoring.fraud.typed import typed
from training.fraud.card_days import CardDays
from training.fraud.examples import Decided


class KeptDays(MutableSequence[Lived]):
    """The days of the world from its first on. A day counts from the moment its transactions are there, which are written last."""

    def __init__(
        self, cards: CardDays, world: CardWorld, changed: Callable[[int], ChangeOn] = lambda _: lambda _: USUAL
    ) -> None:
        """`changed` says how the world was otherwise than usual on the day of a number: the truth of a day is drawn again with it."""
        self._cards, self._world, self._changed = cards, world, changed
        self._read: dict[int, Lived] = {}
        self._length = len(list((cards.tables / "transactions").glob("*.parquet")))

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, number: int) -> Lived: ...

    @overload
    def __getitem__(self, number: slice) -> list[Lived]: ...

    def __getitem__(self, number: int | slice) -> Lived | list[Lived]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        if number not in self._read:
            self._read[number] = self._load(number)
        return self._read[number]

    def __setitem__(self, number: Any, lived: Any) -> None:
        """Write a day anew: one that was lived changes only by what another version makes of it."""
        self._write(lived)
        self._read[number] = lived

    def append(self, lived: Lived) -> None:
        self._write(lived)
        self._read[lived.number] = lived
        self._length += 1

    def redeliver(self, number: int, transactions: pa.Table) -> None:
        """Take a day's payments as they should have been delivered; what came first goes to quarantine. The rest stays as it was."""
        path = self._cards.path("transactions", self._world.date_of(number))
        aside = self._cards.home / "quarantine" / "transactions" / path.name
        aside.parent.mkdir(parents=True, exist_ok=True)
        if not aside.exists():
            write_whole(aside, partial(shutil.copy, path))
        write_whole(path, partial(pq.write_table, transactions))
        self._read.pop(number, None)

    def insert(self, _index: int, _value: Lived) -> None:
        raise TypeError("Days come one after the other: append.")

    def __delitem__(self, _number: Any) -> None:
        raise TypeError("A day that was lived stays.")

    def _load(self, number: int) -> Lived:
        tables = {
            name: self._table(name, number)
            for name in ("features_offline", "features_online", "scores", "labels", "audits", "transactions")
        }
        delivered = tables["transactions"]
        rows = typed(delivered).rows
        ids = delivered["transaction_id"].to_numpy()
        offline, online = (_matrix(tables[name], ids) for name in ("features_offline", "features_online"))
        by_version = tables["scores"].to_pandas().groupby("model_version", sort=False)
        scores = {str(name): part.set_index("transaction_id").loc[ids] for name, part in by_version}
        [live] = [part for part in scores.values() if part["role"].iloc[0] == "live"]
        return Lived(
            number, delivered, rows, offline, online,
            {name: part["score"].to_numpy() for name, part in scores.items()},
            str(live["model_version"].iloc[0]), Decided(live["blocked"].to_numpy(), live["explored"].to_numpy()),
            tables["labels"], tables["audits"], *truth_of(self._world.day(number, self._changed(number)), rows),
        )  # fmt: skip

    def _table(self, name: str, number: int) -> pa.Table:
        return pq.read_table(self._cards.path(name, self._world.date_of(number)))

    def _write(self, lived: Lived) -> None:
        tables = {
            "features_offline": features_of([lived], "features_offline"),
            "features_online": features_of([lived], "features_online"),
            "scores": pa.Table.from_pandas(pd.concat(scores_of(lived), ignore_index=True), preserve_index=False),
            "labels": lived.labels,
            "audits": lived.audits,
            "transactions": lived.delivered,
        }
        for name, table in tables.items():
            write_whole(self._cards.path(name, self._world.date_of(lived.number)), partial(pq.write_table, table))


def _matrix(features: pa.Table, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """In the order of the payments as they are delivered now: a batch that was mended has lost what came twice."""
    rows = pd.Index(features["transaction_id"].to_numpy()).get_indexer(ids)
    return np.column_stack([features[name].to_numpy()[rows] for name in FEATURES]).astype(np.float32)
