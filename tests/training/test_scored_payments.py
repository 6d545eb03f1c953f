"""The log of scored payments comes back as the tables that the watch reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.card_features import FEATURES
from ingest.card_world import CardSettings, CardWorld
from ingest.errors import ArtefactError
from monitoring.fraud.folder import read_folder
from monitoring.fraud.tables import COLUMNS
from serving.prediction_log import PredictionLog
from training.predictions import read_predictions
from training.scored_payments import SCHEMA, Scored, features_online_of, payment_log_of, read_scored, scores_of

NOON = datetime(2025, 3, 17, 12, tzinfo=UTC)
PAYMENTS = CardWorld(CardSettings(seed=3, per_day=500)).day(0).transactions.slice(0, 30)


def scored(transaction_id: int, score: float = 0.2, version: str = "1", at: datetime = NOON) -> tuple[object, ...]:
    answer = Scored(
        f"r{transaction_id}", at, transaction_id, at.replace(tzinfo=None), version, score, score > 0.8, 0.5 < score < 0.8,
        "fresh", at, 1.5, 4711,
    )  # fmt: skip
    return (*answer, *(float(transaction_id + n) if n else np.nan for n in range(len(FEATURES))))


def write(folder: Path, *rows: tuple[object, ...]) -> pa.Table:
    """Log them as a worker does, and read them back."""
    log = PredictionLog(folder, schema=SCHEMA, clock=lambda: NOON)
    for row in rows:
        log.append(row)
    log.close()
    assert (log.written, log.refused) == (len(rows), 0)
    return read_scored(folder)


def test_a_row_comes_back_as_it_was_logged(tmp_path: Path) -> None:
    """Every column, and NaN for what was unknown."""
    [row] = write(tmp_path, scored(17)).to_pylist()
    given = dict(zip(SCHEMA.names, scored(17), strict=True))
    assert np.isnan(row.pop("amount"))
    assert np.isnan(given.pop("amount"))  # type: ignore[call-overload]
    assert row == given


def test_an_hour_that_is_not_over_is_read_too(tmp_path: Path) -> None:
    """The watch need not wait for the hour's Parquet file."""
    log = PredictionLog(tmp_path, schema=SCHEMA, clock=lambda: NOON)
    log.append(scored(1))
    log.flush()
    assert read_scored(tmp_path)["transaction_id"].to_pylist() == [1]


def test_of_a_payment_that_was_scored_twice_the_last_answer_counts(tmp_path: Path) -> None:
    """Whoever lost an answer asks again, and acts on what they heard then."""
    rows = [scored(2, 0.1), scored(1, 0.3), scored(2, 0.9, at=NOON + timedelta(seconds=1))]
    found = write(tmp_path, *rows)
    assert scores_of(found).to_pylist() == [
        {"transaction_id": 1, "model_version": "1", "role": "live", "score": 0.3, "blocked": False, "explored": False},
        {"transaction_id": 2, "model_version": "1", "role": "live", "score": 0.9, "blocked": True, "explored": False},
    ]
    assert features_online_of(found)["transaction_id"].to_pylist() == [1, 2]


def test_the_watch_reads_what_serving_wrote(tmp_path: Path) -> None:
    """Beside the transactions, the two tables make a folder that `mlops diagnose` takes, and lack nothing."""
    ids = PAYMENTS["transaction_id"].to_pylist()
    found = write(tmp_path / "log", *(scored(one) for one in ids))
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, table in (
        ("transactions", PAYMENTS), ("scores", scores_of(found)), ("features_online", features_online_of(found)),
    ):  # fmt: skip
        assert set(COLUMNS[name]) <= set(table.column_names)
        pq.write_table(table, folder / f"{name}.parquet")
    read = read_folder(folder)
    assert read.remarks == ()
    assert read.tables.scores["transaction_id"].tolist() == ids
    assert read.tables.features_online is not None
    assert set(FEATURES) <= set(read.tables.features_online.column_names)


def test_both_logs_of_a_workspace_are_apart(tmp_path: Path) -> None:
    """A row of one is none of the other: whoever mixes the folders up is told."""
    write(payment_log_of(tmp_path), scored(1))
    with pytest.raises(ArtefactError, match="has other columns than this version writes"):
        read_predictions(payment_log_of(tmp_path))
