"""Put a simulated issuer's fraud model live in a workspace, with its windows online: what benches and tests of `/score` ask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.card_features import RISK_DELAY_DAYS, describe
from feature_repo.card_windows import PAST, window_columns
from feature_repo.definitions import CARDS, PAST_DAYS
from feature_repo.feast_store import FeastStore
from ingest.card_world import CardSettings, CardWorld, Day
from serving.load import Question
from training.carry_out import record_and_carry_out
from training.decision_log import now
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.model import FraudModel, FraudParams, fingerprint, fit_fraud_model
from training.mlflow_registry import MlflowRegistry
from training.vocabulary import Decision
from training.workspace import Workspace

TODAY = 70
FITTED_DAYS = 21


@dataclass(frozen=True)
class SimulatedIssuer:
    """An issuer on the midnight of one day: what it knows by then, and the payments that come."""

    settings: CardSettings
    params: FraudParams = field(default_factory=FraudParams)

    @cached_property
    def world(self) -> CardWorld:
        return CardWorld(self.settings)

    @cached_property
    def days(self) -> dict[int, Day]:
        """All days that anything is computed from, and today."""
        return {number: self.world.day(number) for number in range(TODAY - FITTED_DAYS - PAST_DAYS, TODAY + 1)}

    @property
    def payments(self) -> pa.Table:
        """Today's payments."""
        return self.days[TODAY].transactions

    @cached_property
    def model(self) -> FraudModel:
        """Fitted on the truth about the days before: how good it is matters to nobody here, its size does."""
        numbers = range(TODAY - FITTED_DAYS, TODAY)
        features = [self._features(number) for number in numbers]
        fraud = [self._fraud(number) for number in numbers]
        days = np.repeat(numbers, [len(rows) for rows in fraud])
        known = np.concatenate(fraud)
        return fit_fraud_model(np.concatenate(features), known, np.ones(len(known)), days, self.params, seed=0)

    def release(self, ws: Workspace) -> str:
        """Write the windows, register the model as a new version of `fraud`, and promote it; returns the version."""
        store, midnight = FeastStore(CardDays(ws).features, ws.settings.feast_online, CARDS), self.midnight(TODAY)
        store.apply()
        store.write_rows(self._past(TODAY), midnight)
        store.materialise(midnight)
        return release(ws, self.model, self.features)

    @property
    def features(self) -> NDArray[np.float32]:
        """What the model reads of today's payments."""
        return self._features(TODAY)

    def questions(self, count: int = 2_000) -> list[Question]:
        """Today's payments as a caller sends them to `/score`."""
        return [("/score", json.dumps(body).encode()) for body in bodies(self.payments.slice(0, count))]

    def midnight(self, number: int) -> datetime:
        """The moment at which a day begins."""
        return datetime.combine(self.world.date_of(number), time())

    def _features(self, number: int) -> NDArray[np.float32]:
        payments = self.days[number].transactions
        columns = {name: payments[name].to_numpy(zero_copy_only=False) for name in payments.column_names}
        return describe(columns, window_columns(self._past(number), columns))

    def _past(self, number: int) -> pa.Table:
        """The payments before a day; its fraud is known after a week."""
        return pa.concat_tables(
            [self._aged(n, number - n) for n in range(number - PAST_DAYS, number) if n in self.days]
        )

    def _aged(self, number: int, age: int) -> pa.Table:
        payments = self.days[number].transactions
        known = self._fraud(number) & (age > RISK_DELAY_DAYS)
        added = {"age_days": np.full(len(payments), age), "known_fraud": known}
        return pa.table({**{name: payments[name] for name in payments.column_names}, **added}).cast(PAST)

    def _fraud(self, number: int) -> NDArray[np.bool_]:
        return np.asarray(self.days[number].truth["is_fraud"].to_numpy(zero_copy_only=False), bool)


def release(ws: Workspace, model: FraudModel, rows: NDArray[np.float32]) -> str:
    """Register a model and promote it, past all gates; `rows` are what its golden request asks. Returns the version."""
    version = MlflowRegistry(ws.settings, FRAUD).register(
        model,
        golden=FRAUD.golden(model, rows),
        params={},
        metrics={},
        tags={"key": f"simulated {now()} {fingerprint(model)}", "fingerprint": fingerprint(model)},
        run_name="simulated issuer",
    )
    record_and_carry_out(
        ws,
        Decision(
            at=now().isoformat(), actor="policy", kind="promotion", subject=f"{FRAUD.model} version {version.version}",
            action="promote", reason="simulated", model_version=version.version,
        ),
    )  # fmt: skip
    return version.version


def bodies(payments: pa.Table) -> Sequence[dict[str, object]]:
    """Payments as JSON has them: moments as text."""
    return [{**payment, "timestamp": payment["timestamp"].isoformat()} for payment in payments.to_pylist()]
