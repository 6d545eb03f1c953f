"""The tables that a stream wrote down: what a platform has, and nothing of the truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.card_features import FEATURES
from monitoring.fraud.stream import Lived, Stream
from monitoring.fraud.tables import Tables

Event = tuple[date, date, str]


def tables_of(stream: Stream, first: int, in_calendar: Iterable[Event] = ()) -> Tables:
    """Everything of a stream from a day on; `in_calendar` are events that its calendar knows beside the festivals."""
    days = stream.days[first:]
    return Tables(
        batches={stream.world.date_of(d.number): d.delivered for d in days},
        scores=pd.concat([part for d in days for part in scores_of(d)], ignore_index=True),
        labels=pa.concat_tables([d.labels for d in days]).to_pandas(),
        features_offline=features_of(days, "features_offline"),
        features_online=features_of(days, "features_online"),
        audits=pa.concat_tables([d.audits for d in days]).to_pandas(),
        releases=_releases(stream),
        training_labels=_learned(stream),
        calendar=_calendar(stream, first, in_calendar),
    )


def scores_of(day: Lived) -> list[pd.DataFrame]:
    """One part for each version that scored a day."""
    nothing = np.zeros(len(day.fraud), bool)
    return [
        pd.DataFrame(
            {
                "transaction_id": day.delivered["transaction_id"].to_numpy(),
                "model_version": name,
                "role": "live" if name == day.live else "shadow",
                "score": scores,
                "blocked": day.decided.blocked if name == day.live else nothing,
                "explored": day.decided.explored if name == day.live else nothing,
            }
        )
        for name, scores in day.scores.items()
    ]


def features_of(days: Sequence[Lived], which: str) -> pa.Table:
    ids = np.concatenate([d.delivered["transaction_id"].to_numpy() for d in days])
    values = np.concatenate([getattr(d, which) for d in days])
    return pa.table({"transaction_id": ids, **dict(zip(FEATURES, values.T, strict=True))})


def _releases(stream: Stream) -> pd.DataFrame:
    rows = [(name, stream.midnight(day), replaced) for name, day, replaced in stream.releases]
    return pd.DataFrame(rows, columns=["model_version", "released_at", "replaces"])


def _learned(stream: Stream) -> pd.DataFrame | None:
    parts = [
        pd.DataFrame({"model_version": name, "transaction_id": ids, "is_fraud": fraud})
        for name, (ids, fraud) in stream.training_labels.items()
    ]
    return pd.concat(parts, ignore_index=True) if parts else None


def _calendar(stream: Stream, first: int, in_calendar: Iterable[Event]) -> pd.DataFrame:
    """Festivals of these days and of the four weeks after, and what else the calendar knows; a day each."""
    numbers = range(first, len(stream.days) + 28)
    festivals = [
        (stream.world.date_of(n), stream.world.date_of(n), found.name)
        for n in numbers
        if (found := stream.world.festival_on(n))
    ]
    return pd.DataFrame([*festivals, *in_calendar], columns=["first_day", "last_day", "name"])
