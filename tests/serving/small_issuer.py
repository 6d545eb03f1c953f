"""A small card issuer as a worker meets it: fraud models on a disk, in memory, and what is known of customers and terminals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from feature_repo.card_features import CUSTOMER_WINDOWS, TERMINAL_WINDOWS
from feature_repo.feast_store import OnlineRow
from ingest.errors import FeatureError
from serving.fraud_slots import FraudSlots, FraudVersion
from serving.questions import Payment
from serving.release import Artefact
from tests.training.fraud.test_artefact import contents
from training.artefact import FloatArray
from training.fraud.artefact import FRAUD
from training.fraud.model import FraudModel

MIDNIGHT = datetime(2025, 3, 17)
NOON = datetime(2025, 3, 17, 12)
CUSTOMER, TERMINAL, STRANGER = 7, 3, 999

PAYMENT = Payment(
    transaction_id=1, timestamp=NOON, customer_id=CUSTOMER, terminal_id=TERMINAL, amount=40.0, category="fuel",
    channel="chip", distance_km=2.5,
)  # fmt: skip


def row(names: Sequence[str], available_at: datetime = MIDNIGHT) -> OnlineRow:
    """Windows that differ from each other."""
    return OnlineRow({name: float(number + 1) for number, name in enumerate(names)}, available_at)


@dataclass
class FakeCards:
    """The online store of one customer and one terminal; it answers, or refuses, as it is told."""

    refuses: bool = False
    batches: list[tuple[str, int]] = field(default_factory=list)
    """Which key was asked for, and of how many at once."""
    rows: dict[tuple[str, str | int], OnlineRow] = field(
        default_factory=lambda: {
            ("customer_id", CUSTOMER): row(CUSTOMER_WINDOWS),
            ("terminal_id", TERMINAL): row(TERMINAL_WINDOWS),
        }
    )

    def online_rows(self, key: str, ids: Sequence[str | int]) -> list[OnlineRow | None]:
        if self.refuses:
            raise FeatureError("The online store does not answer.")
        self.batches.append((key, len(ids)))
        return [self.rows.get((key, one)) for one in ids]


@dataclass(frozen=True)
class FakeTrees:
    """The same margin for every payment."""

    margin: float

    def inplace_predict(self, data: FloatArray, *, predict_type: str) -> FloatArray:
        return np.full(len(data), self.margin, np.float32)


@dataclass(frozen=True)
class FailingTrees:
    """Trees that give no margin of any payment above an amount."""

    from_amount: float = 0.0

    def inplace_predict(self, data: FloatArray, *, predict_type: str) -> FloatArray:
        if (data[:, 0] >= self.from_amount).any():
            raise RuntimeError("no trees")
        return np.zeros(len(data), np.float32)


def scoring(probability: float, version: str = "1") -> FraudSlots:
    """A model in memory that says the same of every payment."""
    return FraudSlots(version_scoring(probability, version))


def version_scoring(probability: float, version: str) -> FraudVersion:
    return FraudVersion(version, FraudModel(FakeTrees(float(np.log(probability / (1 - probability))))))


def fraud_version_in(folder: Path, name: str = "1", changed: Mapping[str, bytes] | None = None) -> Artefact:
    """Write a version whose record is right about its files, whatever is in them."""
    written = contents() | dict(changed or {})
    for file, place in FRAUD.files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(written[file])
    return Artefact(name, str(folder), FRAUD.sha256_of(written))
