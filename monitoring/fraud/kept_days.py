"""Keep the days of a stream as the documented tables, a file a day: read when they are asked for, written when they were lived."""

from __future__ import annotations

from collections.abc import MutableSequence
from functools import partial
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.card_features import FEATURES
from ingest.card_world import CardWorld
from ingest.whole_files import write_whole
from monitoring.fraud.stream import Lived, truth_of
from monitoring.fraud.stream_tables import features_of, scores_of
from monitoring.fraud.typed import typed
from training.fraud.card_days import CardDays
from training.fraud.examples import Decided


class KeptDays(MutableSequence[Lived]):
    """The days of the world from its first on. A day counts from the moment its transactions are there, which are written last."""

    def __init__(self, cards: CardDays, world: CardWorld) -> None:
        self._cards, self._world = cards, world
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
        scores = tables["scores"].to_pandas()
        live = scores[scores["role"] == "live"]
        return Lived(
            number, delivered, rows, _matrix(tables["features_offline"]), _matrix(tables["features_online"]),
            {str(name): part["score"].to_numpy() for name, part in scores.groupby("model_version", sort=False)},
            str(live["model_version"].iloc[0]), Decided(live["blocked"].to_numpy(), live["explored"].to_numpy()),
            tables["labels"], tables["audits"], *truth_of(self._world.day(number), rows),
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


def _matrix(features: pa.Table) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.column_stack([features[name].to_numpy() for name in FEATURES]).astype(np.float32)
