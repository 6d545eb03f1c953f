"""Run the fraud platform on a simulated card issuer, day after day: features at midnight, scores, blocks, labels, audits.

The days of a stream are what a platform would have written down; nothing that decides anything reads the truth. A stream
can be branched: the history of a seed is lived once, and each drill goes on from a copy of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo import card_features
from feature_repo.card_features import CUSTOMER_WINDOWS, FEATURES, TERMINAL_WINDOWS, describe
from ingest.card_incidents import Incident
from ingest.card_labels import ALL_WELL, LabelFault, LabelSettings, explored, labels_of
from ingest.card_world import TRANSACTIONS, CardSettings, CardWorld, Day
from monitoring.fraud.tables import Tables
from monitoring.fraud.typed import typed
from training.fraud.examples import MATURE_DAYS, Decided, weights_of
from training.fraud.label_book import LabelBook
from training.fraud.model import FraudModel, FraudParams, fit_fraud_model

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

BLOCKED_ABOVE = 0.5
WARM_UP_DAYS = 21
PREVIOUS_FITTED, CHAMPION_FITTED = (WARM_UP_DAYS, 49), (WARM_UP_DAYS, 56)
LIVE_FROM = CHAMPION_FITTED[1] + MATURE_DAYS
FIRST_EVIDENCE = LIVE_FROM + 56
INCIDENT_DAY = FIRST_EVIDENCE + 28 + 126


class AuditPlan(NamedTuple):
    """How many transactions a week are looked at again with all the time it takes, and why each."""

    accused: int = 70
    cleared: int = 70
    random: int = 140
    takes_days: int = 3


class Lived(NamedTuple):
    """One day as the platform wrote it down, and the truth, which only the judge of a drill reads."""

    number: int
    delivered: pa.Table
    features_offline: NDArray[np.float32]
    features_online: NDArray[np.float32]
    scores: Mapping[str, Floats]
    live: str
    decided: Decided
    labels: pa.Table
    audits: pa.Table
    fraud: Flags
    amount: Floats


@dataclass(eq=False)
class Stream:
    """A platform at work; `live_day` moves it one day on."""

    world: CardWorld
    models: dict[str, FraudModel] = field(default_factory=dict)
    live: str = "rule"
    releases: list[tuple[str, int, str]] = field(default_factory=list)
    training_labels: dict[str, tuple[Ints, Flags]] = field(default_factory=dict)
    days: list[Lived] = field(default_factory=list)
    labels: LabelSettings = field(default_factory=LabelSettings)
    audit: AuditPlan = field(default_factory=AuditPlan)

    def branch(self) -> Stream:
        """A copy that goes on by itself; days that were lived are shared, for nothing changes them."""
        return replace(
            self,
            models=dict(self.models),
            releases=list(self.releases),
            training_labels=dict(self.training_labels),
            days=list(self.days),
        )

    def live_day(self, incident: Incident, incident_day: int) -> Lived:
        """Live the next day, with an incident that began or will begin on `incident_day`."""
        number = len(self.days)
        day = self.world.day(number, incident.world(incident_day))
        rng = np.random.default_rng([self.world.settings.seed, number, 11])
        acts = number >= incident_day
        delivered = incident.delivered(day.transactions, rng) if acts else day.transactions
        rows = typed(delivered).rows
        offline = self._features(number, rows)
        online = skewed(offline, incident, rng) if acts and incident.skew else offline
        scores = self._scores(rows, online)
        raw_live = scores[self.live]
        decided = Decided(*explored(raw_live, BLOCKED_ABOVE, self.labels, rng))
        labels = self._labels(day, rows, raw_live, decided, rng, fault=incident.labels if acts else ALL_WELL)
        lived = Lived(
            number, delivered, offline, online, scores, self.live, decided, labels, self._audits(number, rng),
            *_truth_of(day, rows),
        )  # fmt: skip
        self.days.append(lived)
        return lived

    def release(self, name: str, model: FraudModel, replaces: str, ids: Ints, fraud: Flags) -> None:
        """Put a version live from the next day on; `replaces` goes on in its shadow."""
        self.models[name] = model
        self.releases.append((name, len(self.days), replaces))
        self.training_labels[name] = (ids, fraud)
        self.live = name
        # A version that was compared before its release has scored the days before it, too.
        back = range(max(LIVE_FROM, len(self.days) - 63), len(self.days))
        for number in back:
            lived = self.days[number]
            self.days[number] = lived._replace(scores={**lived.scores, name: model.score(lived.features_online)})

    def _features(self, number: int, rows: pa.Table) -> NDArray[np.float32]:
        midnight = self._midnight(number)
        past = [
            _aged(typed(lived.delivered).rows, number - lived.number, self._known_fraud(lived, midnight))
            for lived in self.days[-(card_features.RISK_DELAY_DAYS + card_features.WINDOW_DAYS) :]
        ]
        columns = {name: rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names}
        return describe(columns, window_columns(pa.concat_tables(past) if past else None, columns))

    def _known_fraud(self, lived: Lived, midnight: datetime) -> Flags:
        """Which of a day's transactions some label had called fraud by a moment."""
        labels = lived.labels
        arrived = labels["arrived_at"].to_numpy() < np.datetime64(midnight)
        said = labels["transaction_id"].to_numpy()[arrived & labels["is_fraud"].to_numpy(zero_copy_only=False)]
        return np.isin(lived.delivered["transaction_id"].to_numpy(), said)

    def _scores(self, rows: pa.Table, online: NDArray[np.float32]) -> dict[str, Floats]:
        if self.live == "rule":  # before there is a model: large amounts, far from home
            amount, far = (rows[name].to_numpy(zero_copy_only=False) for name in ("amount", "distance_km"))
            return {"rule": np.nan_to_num(amount * (1 + far / 50)) / 1e5}
        kept = {self.live, *(replaced for name, _, replaced in self.releases if name == self.live)}
        return {name: self.models[name].score(online) for name in kept if name in self.models}

    def _labels(
        self, day: Day, rows: pa.Table, scores: Floats, decided: Decided, rng: np.random.Generator, *, fault: LabelFault
    ) -> pa.Table:
        """Labels of the true payments: analysts look at the greatest expected losses first."""
        first = np.searchsorted(
            np.sort(rows["transaction_id"].to_numpy()), day.transactions["transaction_id"].to_numpy()
        )
        position = np.argsort(rows["transaction_id"].to_numpy(), kind="stable")[first]
        amount = np.nan_to_num(rows["amount"].to_numpy(zero_copy_only=False))
        expected_loss = (scores * amount)[position]
        return labels_of(day, expected_loss, decided.blocked[position], self.labels, rng, fault=fault)

    def _audits(self, number: int, rng: np.random.Generator) -> pa.Table:
        """Once a week: some that were called fraud lately, some of the highest scores that were not, and some at random."""
        if number < LIVE_FROM + 14 or number % 7:
            return AUDITS.empty_table()
        midnight = self._midnight(number)
        chosen: list[tuple[int, str, bool]] = []
        pool = self.days[number - 21 : number]
        ids = np.concatenate([d.delivered["transaction_id"].to_numpy() for d in pool])
        score = np.concatenate([d.scores[d.live] for d in pool])
        fraud = np.concatenate([d.fraud for d in pool])
        age = number - np.repeat([d.number for d in pool], [len(d.fraud) for d in pool])
        labels = pa.concat_tables([d.labels for d in pool]).to_pandas()
        labels = labels[labels["arrived_at"] < midnight]
        accused = np.isin(ids, labels.loc[labels["is_fraud"], "transaction_id"])
        lately = np.isin(
            ids,
            labels.loc[labels["is_fraud"] & (labels["arrived_at"] >= midnight - timedelta(days=7)), "transaction_id"],
        )
        cleared = ~accused & (age >= 3) & (score >= np.quantile(score, 0.985))
        for reason, among, size in (
            ("accused", lately, self.audit.accused),
            ("cleared", cleared, self.audit.cleared),
            ("random", (age >= 7) & (age < 14), self.audit.random),
        ):
            found = np.flatnonzero(among)
            drawn = rng.choice(found, min(size, len(found)), replace=False)
            chosen += [(int(ids[row]), reason, bool(fraud[row])) for row in np.sort(drawn)]
        at = midnight + timedelta(days=self.audit.takes_days)
        names = ("transaction_id", "reason", "is_fraud")
        columns = dict(zip(names, zip(*chosen, strict=True), strict=True))
        return pa.table({**{k: list(v) for k, v in columns.items()}, "arrived_at": [at] * len(chosen)}).cast(AUDITS)

    def _midnight(self, number: int) -> datetime:
        return datetime.combine(self.world.date_of(number), time())

    def examples(self, first: int, last: int, as_of: int) -> Examples:
        """What a model may learn on day `as_of` from the days first to last (not itself), festivals left out."""
        days = [d for d in self.days[first:last] if not self.world.festival_on(d.number)]
        ids = np.concatenate([d.delivered["transaction_id"].to_numpy() for d in days])
        every = pa.concat_tables([d.labels for d in days]).to_pandas()
        audits = pa.concat_tables([d.audits for d in self.days[first:as_of]]).to_pandas()
        gold = audits.drop(columns="reason").assign(source="audit")
        book = LabelBook.of(ids, pd.concat([every, gold], ignore_index=True))
        moment = as_of + _epoch_day(self.world.date_of(0))
        decided = Decided(*(np.concatenate([d.decided[n] for d in days]) for n in range(2)))
        return Examples(
            ids,
            np.concatenate([d.features_offline for d in days]),
            book.fraud_known(moment),
            weights_of(decided, book.looked_at(moment), self.labels.explored),
            np.repeat([d.number for d in days], [len(d.fraud) for d in days]),
        )


class Examples(NamedTuple):
    """Transactions to learn from: ids, features (rows x FEATURES), labels as known, weights and day numbers."""

    ids: Ints
    features: NDArray[np.float32]
    fraud: Flags
    weights: Floats
    days: Ints

    def fitted(self, *, seed: int, params: FraudParams | None = None) -> FraudModel:
        return fit_fraud_model(self.features, self.fraud, self.weights, self.days, params or FraudParams(), seed=seed)


AUDITS = pa.schema(
    [
        ("transaction_id", pa.int64()),
        ("reason", pa.string()),
        ("is_fraud", pa.bool_()),
        ("arrived_at", pa.timestamp("us")),
    ]
)


def history(settings: CardSettings, days: int = INCIDENT_DAY) -> Stream:
    """Live so many days of a seed without any incident: a rule first, then a model and its successor."""
    stream, well = Stream(CardWorld(settings)), Incident()
    for number in range(days):
        if number == LIVE_FROM:
            for name, (first, last) in (("1", PREVIOUS_FITTED), ("2", CHAMPION_FITTED)):
                rows = stream.examples(first, last, number)
                stream.release(
                    name, rows.fitted(seed=settings.seed), {"1": "rule", "2": "1"}[name], rows.ids, rows.fraud
                )
        stream.live_day(well, days)
    return stream


def go_on(stream: Stream, incident: Incident, days: int) -> Stream:
    """Branch off and live so many days with an incident from the first of them on."""
    branch, first = stream.branch(), len(stream.days)
    if incident.release:
        _release(branch, incident)
    for _ in range(days):
        branch.live_day(incident, first)
    return branch


KNOCKED_OUT = (
    "terminal_risk",
    "amount_over_usual",
    "hour",
    "distance_km",
    "amount",
    "customer_mean_amount",
    "terminal_mean_amount",
    "customer_mean_distance",
)


def _release(stream: Stream, incident: Incident) -> None:
    now, seed = len(stream.days), stream.world.settings.seed
    rng = np.random.default_rng([seed, now, 13])
    rows = stream.examples(now - MATURE_DAYS - 84, now - MATURE_DAYS, now)
    fraud, features = rows.fraud, rows.features
    if incident.release == "bad":
        # Columns were joined to the wrong rows: what was learned of them is noise.
        features = features.copy()
        for name in KNOCKED_OUT[: round(len(KNOCKED_OUT) * incident.strength)]:
            column = list(FEATURES).index(name)
            features[:, column] = rng.permutation(features[:, column])
    if incident.release == "poisoned":
        freed = fraud & (rng.random(len(fraud)) < incident.strength * 0.8)
        accused = ~fraud & (rng.random(len(fraud)) < freed.sum() / len(fraud))
        fraud = fraud ^ freed ^ accused
    model = rows._replace(features=features, fraud=fraud).fitted(seed=seed)
    stream.release("3", model, stream.live, rows.ids, fraud)


def skewed(offline: NDArray[np.float32], incident: Incident, rng: np.random.Generator) -> NDArray[np.float32]:
    """What the service reads instead of what the lake holds, for as many transactions as the incident is strong."""
    online, hit = offline.copy(), rng.random(len(offline)) < incident.strength
    column = {name: number for number, name in enumerate(FEATURES)}
    if incident.skew == "stale_windows":  # the online store was not written: nobody has windows
        for name in (*CUSTOMER_WINDOWS, *TERMINAL_WINDOWS, "amount_over_usual", "distance_over_usual"):
            online[hit, column[name]] = np.nan
    if incident.skew == "wrong_unit":  # a ratio of cents to whole units
        online[hit, column["amount_over_usual"]] *= 100
    if incident.skew == "wrong_clock":  # the service tells local time
        online[hit, column["hour"]] = (online[hit, column["hour"]] + 5) % 24
    return online


def tables_of(stream: Stream, first: int, in_calendar: Iterable[tuple[date, date, str]] = ()) -> Tables:
    """What the platform wrote down from a day on."""
    days = stream.days[first:]
    world = stream.world
    ids = np.concatenate([d.delivered["transaction_id"].to_numpy() for d in days])
    scores = []
    for d in days:
        for name, values in d.scores.items():
            scores.append(
                {
                    "transaction_id": d.delivered["transaction_id"].to_numpy(),
                    "model_version": name,
                    "role": "live" if name == d.live else "shadow",
                    "score": values,
                    "blocked": d.decided.blocked if name == d.live else np.zeros(len(values), bool),
                    "explored": d.decided.explored if name == d.live else np.zeros(len(values), bool),
                }
            )
    frame = pd.concat([pd.DataFrame(part) for part in scores], ignore_index=True)
    as_table = {
        name: pa.table(
            {
                "transaction_id": ids,
                **dict(zip(FEATURES, np.concatenate([getattr(d, name) for d in days]).T, strict=True)),
            }
        )
        for name in ("features_offline", "features_online")
    }
    released = [
        {"model_version": n, "released_at": stream._midnight(day), "replaces": replaced}
        for n, day, replaced in stream.releases
    ]
    learned = [
        pd.DataFrame({"model_version": name, "transaction_id": ids, "is_fraud": fraud})
        for name, (ids, fraud) in stream.training_labels.items()
    ]
    numbers = range(first, len(stream.days) + 28)
    festivals = {(f.name, world.date_of(n).year): n for n in numbers if (f := world.festival_on(n))}
    calendar = [
        {"first_day": world.date_of(n - f.days + 1), "last_day": world.date_of(n), "name": f.name}
        for (_, n) in festivals.items()
        if (f := world.festival_on(n))
    ] + [{"first_day": a, "last_day": b, "name": name} for a, b, name in in_calendar]
    return Tables(
        batches={world.date_of(d.number): d.delivered for d in days},
        scores=frame,
        labels=pa.concat_tables([d.labels for d in days]).to_pandas(),
        audits=pa.concat_tables([d.audits for d in days]).to_pandas(),
        releases=pd.DataFrame(released, columns=["model_version", "released_at", "replaces"]),
        training_labels=pd.concat(learned, ignore_index=True) if learned else None,
        calendar=pd.DataFrame(calendar, columns=["first_day", "last_day", "name"]),
        **as_table,
    )


@cache
def _sql() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """What each window expression is in DuckDB's language: compiled once a process, for that takes a tenth of a second."""
    schema = {**ibis.Schema.from_pyarrow(TRANSACTIONS), "age_days": "int64", "known_fraud": "boolean"}
    past = ibis.table(schema, name="past")
    return tuple(
        (key, str(ibis.to_sql(expression(past), dialect="duckdb")), names)
        for key, expression, names in (
            ("customer_id", card_features.customer_windows, CUSTOMER_WINDOWS),
            ("terminal_id", card_features.terminal_windows, TERMINAL_WINDOWS),
        )
    )


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    return connection


def window_columns(past: pa.Table | None, columns: Mapping[str, NDArray]) -> dict[str, Floats]:
    """The windows of each transaction's customer and terminal, NaN for whom nothing is known."""
    found: dict[str, Floats] = {}
    if past is not None:
        _duckdb().register("past", past)
    for key, sql, names in _sql():
        wanted = np.asarray(columns[key], np.int64)
        rows = _duckdb().sql(sql).to_arrow_table() if past is not None else None
        keys = rows[key].to_numpy() if rows is not None else np.empty(0, np.int64)
        order = np.argsort(keys)
        at = np.minimum(np.searchsorted(keys, wanted, sorter=order), max(len(keys) - 1, 0))
        row = order[at] if len(keys) else at
        there = keys[row] == wanted if len(keys) else np.zeros(len(wanted), bool)
        for name in names:
            values = np.full(len(wanted), np.nan)
            if rows is not None and len(keys):
                values[there] = rows[name].to_numpy()[row[there]]
            found[name] = values
    return found


def _aged(rows: pa.Table, age: int, known_fraud: Flags) -> pa.Table:
    return rows.append_column("age_days", pa.array(np.full(len(rows), age))).append_column(
        "known_fraud", pa.array(known_fraud)
    )


def _truth_of(day: Day, rows: pa.Table) -> tuple[Flags, Floats]:
    """Truth and true amount in the order of the delivered rows; what was delivered twice is what it was the first time."""
    ids = day.transactions["transaction_id"].to_numpy()
    wanted = rows["transaction_id"].to_numpy()
    wanted = np.where(np.isin(wanted, ids), wanted, wanted - 500_000)
    at = np.searchsorted(ids, wanted)
    return day.truth["is_fraud"].to_numpy(zero_copy_only=False)[at], day.transactions["amount"].to_numpy()[at]


def _epoch_day(on: date) -> int:
    return (on - date(1970, 1, 1)).days
