"""Small versions, for tests of what is done with versions."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from training.mlflow_registry import MlflowRegistry, Version
from training.recommender.artefact import RANKER
from training.recommender.examples import Examples
from training.recommender.index import ABSENT
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import OWN_ORDERS, Ranker, RankerParams, fit_ranker


def fitted(seed: int = 0) -> Ranker:
    rng = np.random.default_rng(seed)
    features = rng.random((200, len(FEATURES)), dtype=np.float32)
    features[:, OWN_ORDERS] = ABSENT
    week = Examples(datetime(2011, 1, 24), np.repeat(np.arange(10, dtype=np.int32), 20), features, features[:, 0] > 0.5)
    return fit_ranker([week], RankerParams(trees=5, min_child_weight=1), seed=seed)


def register(registry: MlflowRegistry, key: str) -> Version:
    ranker = fitted()
    return registry.register(
        ranker,
        golden=RANKER.golden(ranker, np.zeros((3, len(FEATURES)), np.float32)),
        params={"trees": 5},
        metrics={"rows": 200.0},
        tags={"key": key, "as_of": "2011-01-24"},
        run_name=key,
    )
