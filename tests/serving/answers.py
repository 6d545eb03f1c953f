"""Answers of both slices, as the workers log them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from serving.prediction_log import PredictionLog
from training.predictions import Prediction

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NUMBERS = count()


def answer(
    slice_: str,
    *,
    at: datetime = NOON,
    user_id: str | None = "u",
    slot: str | None = None,
    version: str | None = None,
    latency_ms: float = 3.0,
    items: tuple[str, ...] = ("a", "b"),
) -> Prediction:
    """One answer: of version 2 on canary, of version 1 otherwise."""
    return Prediction(
        request_id=f"r{next(NUMBERS)}",
        at=at,
        user_id=user_id,
        slot=slot or ("challenger" if slice_ == "canary" else "champion"),  # type: ignore[arg-type]
        slice=slice_,  # type: ignore[arg-type]
        model_version=version or ("2" if slice_ == "canary" else "1"),
        list="all",
        item_ids=items,
        scores=[1.0] * len(items),
        rung="fresh",
        known=True,
        features_at=at,
        index_as_of=at,
        latency_ms=latency_ms,
        worker=4711,
    )


def write(folder: Path, answers: Iterable[Prediction]) -> list[str]:
    """Log them as a worker of its own does; returns their request ids."""
    rows = list(answers)
    log = PredictionLog(folder, clock=lambda: rows[0].at)
    for row in rows:
        log.append(row)
    log.close()
    assert (log.written, log.refused) == (len(rows), 0)
    return [row.request_id for row in rows]
