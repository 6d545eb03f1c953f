"""Compare libraries at scoring one customer's candidates, which is half of an answer: `mlops bench serving --compare scorers`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from feature_repo.feast_store import FeastStore
from serving.onnx_trees import ranker_in_onnx
from serving.ranking import prepare, states_of
from training.mlflow_registry import MlflowRegistry
from training.recommender.artefact import RANKER
from training.recommender.index import FloatArray, load_index
from training.recommender.ranker import Ranker, score_next
from training.settings import build_settings
from training.workspace import Workspace

CUSTOMERS, ROUNDS = 200, 5
SETS = ("listwise", "pointwise", "levelwise")  # those behind the list of all items

Score = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class ScorerCost:
    """What it takes to score one customer's candidates in one thread, in ms; `parity` is to XGBoost, None for other trees."""

    scorer: str
    pairs: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    parity: float | None


def bench_scorers(home: Path) -> list[ScorerCost]:
    """The champion's own trees in XGBoost and in ONNX Runtime; as many trees of as many leaves in LightGBM and scikit-learn."""
    lists, ranker = _candidates(home)
    scorers: dict[str, tuple[Score, bool]] = {
        "XGBoost": (partial(score_next, ranker), True),
        "ONNX Runtime (served)": (partial(score_next, ranker_in_onnx(ranker)), True),
        "LightGBM": (_lightgbm(ranker, lists), False),
        "scikit-learn": (_scikit(ranker, lists), False),
    }
    with threadpool_limits(1):
        for name in SETS:
            getattr(ranker, name).set_param({"nthread": 1})
        return [_measured(name, score, lists, ranker, own) for name, (score, own) in scorers.items()]


def _candidates(home: Path) -> tuple[list[FloatArray], Ranker]:
    """The described candidates of some customers, as the service would rank them now."""
    ws = Workspace(build_settings(home))
    registry = MlflowRegistry(ws.settings, RANKER)
    index = load_index(sorted((ws.home / "index").glob("*.npz"))[-1])
    store = FeastStore(ws.features, ws.settings.feast_online)
    known = store.keys("user_features", index.as_of)
    asked = [known[n] for n in np.random.default_rng(7).integers(len(known), size=CUSTOMERS)]
    champion = registry.aliases().champion
    assert champion is not None, f"nothing is live in {home}"
    rows = store.online_rows("user_id", asked)
    lists = [prepare(states_of([u], [row], index), index).features for u, row in zip(asked, rows, strict=True)]
    return lists, registry.load(champion)


def _measured(name: str, score: Score, lists: list[FloatArray], ranker: Ranker, own: bool) -> ScorerCost:
    for pairs in lists[:20]:
        score(pairs)
    taken, cpu = [], time.process_time()
    for pairs in lists * ROUNDS:
        began = time.perf_counter()
        score(pairs)
        taken.append((time.perf_counter() - began) * 1000)
    cpu_ms = (time.process_time() - cpu) * 1000 / len(taken)
    off = max(float(np.abs(score(pairs) - score_next(ranker, pairs)).max()) for pairs in lists) if own else None
    p50, p99 = np.percentile(taken, [50, 99])
    return ScorerCost(name, float(np.median([len(p) for p in lists])), cpu_ms, float(p50), float(p99), off)


def _size(ranker: Ranker) -> tuple[int, int]:
    """How many trees, and how many leaves the largest has."""
    trees = [tree for name in SETS for tree in getattr(ranker, name).get_dump()]
    return len(trees), max(tree.count("leaf=") for tree in trees)


def _lightgbm(ranker: Ranker, lists: list[FloatArray]) -> Score:
    import lightgbm

    trees, leaves = _size(ranker)
    pairs = np.concatenate(lists)
    params = {"num_leaves": leaves, "num_threads": 1, "verbose": -1, "min_data_in_leaf": 5}
    fitted = lightgbm.train(params, lightgbm.Dataset(pairs, score_next(ranker, pairs)), trees)
    return lambda asked: np.asarray(fitted.predict(asked, num_threads=1))


def _scikit(ranker: Ranker, lists: list[FloatArray]) -> Score:
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees, leaves = _size(ranker)
    pairs = np.concatenate(lists)
    wanted = HistGradientBoostingRegressor(
        max_iter=trees, max_leaf_nodes=leaves, min_samples_leaf=5, early_stopping=False
    )
    fitted = wanted.fit(pairs, score_next(ranker, pairs))
    predict: Score = fitted.predict
    return predict
