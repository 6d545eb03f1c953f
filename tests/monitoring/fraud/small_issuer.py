"""A small card issuer: a hundred days of six hundred payments, with scores that know the truth a bit; built in a second or two."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo.card_features import CUSTOMER_WINDOWS, FEATURES, TERMINAL_WINDOWS, describe
from ingest.card_labels import ALL_WELL, LabelFault, LabelSettings, explored, labels_of
from ingest.card_world import CardSettings, CardWorld, Day
from monitoring.fraud.ledger import EPOCH
from monitoring.fraud.tables import Tables
from training.fraud.examples import Decided

WORLD = CardWorld(CardSettings(seed=3, per_day=600, fraud_share=0.02))
DAYS, AS_OF = 100, 100
RELEASED = {"1": 0, "2": 84, "3": 95}
"""Version by the first day on which it is live; each scores from two weeks before."""
IDS_A_DAY = 1_000_000


class Scored(NamedTuple):
    """A day, what each version gave its payments, and what was done with them."""

    day: Day
    scores: dict[str, NDArray[np.float64]]
    live: str
    decided: Decided


def date_of(number: int) -> date:
    return WORLD.date_of(number)


def epoch_day(number: int) -> int:
    """A day of the small issuer as the ledger counts it."""
    return (date_of(number) - EPOCH).days


def midnight(number: int) -> datetime:
    return datetime.combine(date_of(number), time())


@cache
def tables() -> Tables:
    """Everything that the small issuer wrote down; shared, so never changed by a test."""
    days = [scored(number) for number in range(DAYS)]
    features = pa.concat_tables([_features(number) for number in range(DAYS)])
    return Tables(
        batches={date_of(number): day.day.transactions for number, day in enumerate(days)},
        scores=pd.concat([_score_rows(day) for day in days], ignore_index=True),
        labels=pd.concat([labels(number) for number in range(DAYS)], ignore_index=True),
        features_offline=features,
        features_online=features,
        audits=_audits(days),
        releases=pd.DataFrame(
            {
                "model_version": list(RELEASED),
                "released_at": [midnight(number) for number in RELEASED.values()],
                "replaces": ["rule", "1", "2"],
            }
        ),
        training_labels=pd.concat([_learned(days, name) for name in ("2", "3")], ignore_index=True),
        calendar=pd.DataFrame({"first_day": [date_of(300)], "last_day": [date_of(305)], "name": ["sale"]}),
    )


def relabelled(fault: LabelFault, first: int) -> Tables:
    """The same with a fault of the labels from a day on."""
    every = [labels(number, fault if number >= first else ALL_WELL) for number in range(DAYS)]
    return replace(tables(), labels=pd.concat(every, ignore_index=True))


def known_on(known: Tables, number: int) -> Tables:
    """Only what had arrived by the midnight that begins a day."""
    moment, first_later = midnight(number), number * IDS_A_DAY
    assert known.audits is not None
    assert known.releases is not None
    assert known.training_labels is not None
    assert known.features_offline is not None
    released = known.releases[known.releases["released_at"] < moment]
    features = known.features_offline.filter(pc.field("transaction_id") < first_later)
    return Tables(
        batches={day: batch for day, batch in known.batches.items() if day < date_of(number)},
        scores=known.scores[known.scores["transaction_id"] < first_later],
        labels=known.labels[known.labels["arrived_at"] < moment],
        features_offline=features,
        features_online=features,
        audits=known.audits[known.audits["arrived_at"] < moment],
        releases=released,
        training_labels=known.training_labels[known.training_labels["model_version"].isin(released["model_version"])],
        calendar=known.calendar,
    )


@cache
def scored(number: int) -> Scored:
    day, rng = WORLD.day(number), np.random.default_rng([7, number])
    fraud = day.truth["is_fraud"].to_numpy(zero_copy_only=False)
    known = np.where(fraud, rng.normal(-0.5, 2, len(fraud)), rng.normal(-5.5, 1, len(fraud)))
    scores = {
        name: 1 / (1 + np.exp(-known - rng.normal(0, 0.3, len(fraud))))
        for name, first in RELEASED.items()
        if number >= first - 14
    }
    live = max(name for name, first in RELEASED.items() if number >= first)
    return Scored(day, scores, live, Decided(*explored(scores[live], 0.5, LabelSettings(), rng)))


@cache
def labels(number: int, fault: LabelFault = ALL_WELL) -> pd.DataFrame:
    """What is ever said of a day's payments."""
    day, rng = scored(number), np.random.default_rng([8, number])
    settings = LabelSettings(reviews_a_day=20)
    return labels_of(day.day, day.scores[day.live], day.decided.blocked, settings, rng, fault=fault).to_pandas()


def _score_rows(day: Scored) -> pd.DataFrame:
    nobody = np.zeros(len(day.day.transactions), bool)
    rows = [
        pd.DataFrame(
            {
                "transaction_id": day.day.transactions["transaction_id"].to_numpy(),
                "model_version": name,
                "role": "live" if name == day.live else "shadow",
                "score": values,
                "blocked": day.decided.blocked if name == day.live else nobody,
                "explored": day.decided.explored if name == day.live else nobody,
            }
        )
        for name, values in day.scores.items()
    ]
    return pd.concat(rows, ignore_index=True)


def _features(number: int) -> pa.Table:
    """Windows are drawn: nobody who reads these tables asks where they came from."""
    rows, rng = scored(number).day.transactions, np.random.default_rng([9, number])
    columns = {name: rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names}
    windows = {name: rng.gamma(2.0, 5.0, len(rows)) for name in (*CUSTOMER_WINDOWS, *TERMINAL_WINDOWS)}
    described = describe(columns, windows)
    return pa.table({"transaction_id": columns["transaction_id"], **dict(zip(FEATURES, described.T, strict=True))})


def _audits(days: list[Scored]) -> pd.DataFrame:
    """Each Monday forty payments of a week ago, the highest scores among them; each payment once."""
    found = []
    for number in range(14, DAYS, 7):
        pool = [days[n] for n in range(number - 10, number - 3)]
        ids = np.concatenate([d.day.transactions["transaction_id"].to_numpy() for d in pool])
        fraud = np.concatenate([d.day.truth["is_fraud"].to_numpy(zero_copy_only=False) for d in pool])
        order = np.argsort([-score for d in pool for score in d.scores[d.live]], kind="stable")
        chosen = np.concatenate([order[:20], order[200:220], order[1000:1040]])
        found.append(
            pd.DataFrame(
                {
                    "transaction_id": ids[chosen],
                    "reason": ["accused"] * 20 + ["cleared"] * 20 + ["random"] * 40,
                    "is_fraud": fraud[chosen],
                    "arrived_at": midnight(number) + timedelta(days=3),
                }
            )
        )
    return pd.concat(found, ignore_index=True)


def _learned(days: list[Scored], name: str) -> pd.DataFrame:
    """What labels said on the day of a release about the four weeks that ended two weeks before it."""
    numbers = range(RELEASED[name] - 42, RELEASED[name] - 14)
    said = pd.concat([labels(number) for number in numbers])
    fraud = said.loc[said["is_fraud"] & (said["arrived_at"] < midnight(RELEASED[name])), "transaction_id"]
    ids = np.concatenate([days[number].day.transactions["transaction_id"].to_numpy() for number in numbers])
    return pd.DataFrame({"model_version": name, "transaction_id": ids, "is_fraud": np.isin(ids, fraud)})
