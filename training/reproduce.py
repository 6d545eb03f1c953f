"""Rebuild a registered version from its record and the lake, and compare it with the original bit for bit."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.definitions import service_version
from feature_repo.feast_store import FeastStore
from training.mlflow_registry import MlflowRegistry
from training.recommender.artefact import RANKER
from training.recommender.ranker import RankerParams, fingerprint, fit_ranker, score_pairs
from training.week_data import WeekData
from training.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing that a rebuilt model was compared in."""

    what: str
    recorded: str
    rebuilt: str

    @property
    def equal(self) -> bool:
        return self.recorded == self.rebuilt


def reproduce(ws: Workspace, version: str) -> list[Comparison]:
    """Build features, examples and ranker anew, in an empty feature store, from the lake as it was known then.

    Nothing that the weekly run cached is read: only the registry's record and the lake.
    """
    registry = MlflowRegistry(ws.settings, RANKER)
    record = registry.version(version).tags
    as_of, params = datetime.fromisoformat(record["as_of"]), json.loads(record["params"])
    seed = params.pop("seed")
    with tempfile.TemporaryDirectory(prefix="mlops-reproduce-") as folder:
        store = FeastStore(Path(folder))
        store.apply()
        data = WeekData(ws.lake, store)
        examples = [
            _examples(data, datetime.fromisoformat(week), as_of, seed) for week in json.loads(record["label_weeks"])
        ]
        ranker = fit_ranker([e for e in examples if e is not None], RankerParams(**params), seed=seed)
    original, rows = registry.load(version), np.concatenate([e.features for e in examples if e is not None])[:10_000]
    scores = score_pairs(original, rows), score_pairs(ranker, rows)
    return [
        Comparison("snapshot", record["snapshot_id"], ws.lake.snapshot(as_of).id),
        Comparison("feature service", record["feature_service"], service_version()),
        Comparison("label weeks", str(len(examples)), str(sum(e is not None for e in examples))),
        Comparison("trees", record["fingerprint"], fingerprint(ranker)),
        Comparison(f"scores of {len(rows):,} pairs", _bits(scores[0]), _bits(scores[1])),
    ]


def _examples(data: WeekData, week: datetime, as_of: datetime, seed: int) -> Any:
    known_at = data.labels_known(week, as_of)
    return data.examples(week, known_at=known_at, seed=seed) if known_at else None


def _bits(scores: np.ndarray) -> str:
    return hashlib.sha256(scores.tobytes()).hexdigest()
