"""Run the fraud platform on a simulated card issuer, day after day: features at midnight, scores, blocks, labels, audits.

The days of a stream are what a platform would have written down; nothing that decides anything reads the truth. A stream
can be branched: the history of a seed is lived once, and each drill goes on from a copy of it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.card_features import RISK_DELAY_DAYS, WINDOW_DAYS, describe
from feature_repo.card_windows import window_columns
from ingest.card_audit import AUDITS, Auditable, AuditPlan, draw_audit
from ingest.card_incidents import Incident, first_delivered
from ingest.card_labels import ALL_WELL, LabelFault, LabelSettings, explored, labels_of
from ingest.card_world import CardSettings, CardWorld, Day
from monitoring.fraud.harm import skewed, spoiled
from monitoring.fraud.ledger import EPOCH
from monitoring.fraud.typed import typed
from training.fraud.examples import MATURE_DAYS, Decided, Examples, Payments, examples_of
from training.fraud.model import FraudModel
from training.fraud.operation import OPERATION

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

WARM_UP_DAYS = 21
PREVIOUS_FITTED, CHAMPION_FITTED = (WARM_UP_DAYS, 49), (WARM_UP_DAYS, 56)
LIVE_FROM = CHAMPION_FITTED[1] + MATURE_DAYS
FIRST_EVIDENCE = LIVE_FROM + 56
INCIDENT_DAY = FIRST_EVIDENCE + 28 + 126
RELEASE_FITTED_DAYS = 84
AUDITED_DAYS = 21


class Lived(NamedTuple):
    """One day as the platform wrote it down, and the truth, which only the judge of a drill reads."""

    number: int
    delivered: pa.Table
    rows: pa.Table
    """The same, typed: read again on each of the next five weeks' days."""
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
    days: MutableSequence[Lived] = field(default_factory=list)
    labels: LabelSettings = field(default_factory=lambda: LabelSettings(explored=OPERATION.explored_share))
    audit: AuditPlan = field(default_factory=AuditPlan)
    audited_from: int = LIVE_FROM + 14
    challenger: str | None = None
    """A version that scores beside what is live, and decides nothing."""

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
        decided = Decided(*explored(raw_live, OPERATION.blocked_above, self.labels, rng))
        labels = self._labels(day, rows, raw_live, decided, rng, fault=incident.labels if acts else ALL_WELL)
        lived = Lived(
            number, delivered, rows, offline, online, scores, self.live, decided, labels, self._audits(number, rng),
            *truth_of(day, rows),
        )  # fmt: skip
        self.days.append(lived)
        return lived

    def release(self, name: str, model: FraudModel, replaces: str, ids: Ints, fraud: Flags) -> None:
        """Put a version live from the next day on; `replaces` goes on in its shadow."""
        self.models[name] = model
        self.releases.append((name, len(self.days), replaces))
        self.training_labels[name] = (ids, fraud)
        self.live = name
        self.score_back(name)

    def score_back(self, name: str) -> None:
        """Let a version score the nine weeks before: one that was compared before its release has done so."""
        for number in range(max(LIVE_FROM, len(self.days) - 63), len(self.days)):
            lived = self.days[number]
            scores = {**lived.scores, name: self.models[name].score(lived.features_online)}
            self.days[number] = lived._replace(scores=scores)

    def past(self, number: int, days: int = RISK_DELAY_DAYS + WINDOW_DAYS) -> pa.Table | None:
        """The payments of so many days before the midnight at which day `number` begins, as `card_windows.PAST`; None before any."""
        midnight = self.midnight(number)
        lived = self.days[max(number - days, 0) : number]
        aged = [_aged(day.rows, number - day.number, self._known_fraud(day, midnight)) for day in lived]
        return pa.concat_tables(aged) if aged else None

    def _features(self, number: int, rows: pa.Table) -> NDArray[np.float32]:
        columns = {name: rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names}
        return describe(columns, window_columns(self.past(number), columns))

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
        kept = {self.live, self.challenger, *(replaced for name, _, replaced in self.releases if name == self.live)}
        return {name: self.models[name].score(online) for name in sorted(filter(None, kept)) if name in self.models}

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
        """The audit that is drawn at the midnight at which a day begins, on some days of the week."""
        if number < self.audited_from or number % 7 not in self.audit.weekdays:
            return AUDITS.empty_table()
        midnight = self.midnight(number)
        pool = self.days[number - AUDITED_DAYS : number]
        ids = np.concatenate([d.delivered["transaction_id"].to_numpy() for d in pool])
        labels = pa.concat_tables([d.labels for d in pool]).to_pandas()
        accusing = labels[labels["is_fraud"] & (labels["arrived_at"] < midnight)]
        lately = accusing["arrived_at"] >= midnight - timedelta(days=7)
        auditable = Auditable(
            ids=ids,
            fraud=np.concatenate([d.fraud for d in pool]),
            score=np.concatenate([d.scores[d.live] for d in pool]),
            age_days=number - np.repeat([d.number for d in pool], [len(d.fraud) for d in pool]),
            accused=np.isin(ids, accusing["transaction_id"]),
            accused_lately=np.isin(ids, accusing.loc[lately, "transaction_id"]),
        )
        return draw_audit(auditable, midnight, self.audit, rng)

    def midnight(self, number: int) -> datetime:
        """The moment at which a day begins."""
        return datetime.combine(self.world.date_of(number), time())

    def examples(self, first: int, last: int, as_of: int) -> Examples:
        """What a model may learn on day `as_of` from the days first to last (not itself), festivals left out."""
        days = [d for d in self.days[first:last] if not self.world.festival_on(d.number)]
        payments = Payments(
            np.concatenate([d.delivered["transaction_id"].to_numpy() for d in days]),
            np.concatenate([d.features_offline for d in days]),
            Decided(*(np.concatenate([d.decided[n] for d in days]) for n in range(2))),
            np.repeat([d.number for d in days], [len(d.fraud) for d in days]),
        )
        return examples_of(
            payments,
            pa.concat_tables([d.labels for d in days]).to_pandas(),
            pa.concat_tables([d.audits for d in self.days[first:as_of]]).to_pandas(),
            as_of + (self.world.date_of(0) - EPOCH).days,
            explored_share=self.labels.explored,
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
        rows = spoiled_examples(branch, incident)
        model = rows.fitted(seed=branch.world.settings.seed)
        branch.release("3", model, branch.live, rows.ids, rows.fraud)
    for _ in range(days):
        branch.live_day(incident, first)
    return branch


def spoiled_examples(stream: Stream, incident: Incident) -> Examples:
    """What a third version learns from: three months of what is known, as the incident leaves it."""
    now = len(stream.days)
    rows = stream.examples(now - MATURE_DAYS - RELEASE_FITTED_DAYS, now - MATURE_DAYS, now)
    return spoiled(rows, incident, np.random.default_rng([stream.world.settings.seed, now, 13]))


def _aged(rows: pa.Table, age: int, known_fraud: Flags) -> pa.Table:
    return rows.append_column("age_days", pa.array(np.full(len(rows), age))).append_column(
        "known_fraud", pa.array(known_fraud)
    )


def truth_of(day: Day, rows: pa.Table) -> tuple[Flags, Floats]:
    """Truth and true amount in the order of the delivered rows; what was delivered twice is what it was the first time."""
    ids = day.transactions["transaction_id"].to_numpy()
    at = np.searchsorted(ids, first_delivered(rows["transaction_id"].to_numpy(), ids))
    return day.truth["is_fraud"].to_numpy(zero_copy_only=False)[at], day.transactions["amount"].to_numpy()[at]
