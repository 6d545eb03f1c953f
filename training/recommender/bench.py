"""Bench: the ranker, its rivals and its parts over given weeks, replayed as in production, in one run and one table.

For each test week every model sees what was known on its Monday. The ranker's labels end two weeks before, as for a ranker that was judged
on the week in between and then went live with fresh features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import ibis
import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from feature_repo.features import item_features, user_features, user_history
from training.recommender.baselines import BASELINES
from training.recommender.candidates import LIMITS, PAIR_SOURCES
from training.recommender.evaluate import MEASURES, measure
from training.recommender.examples import Examples, build_examples
from training.recommender.index import ABSENT, ITEM_FEATURES, FloatArray, ItemIndex, build_index
from training.recommender.pair_features import FEATURES, RELATIONS
from training.recommender.rank import SCOPES, Scorer, list_items, recommend_each
from training.recommender.ranker import THREADS, RankerParams, fit_ranker, score_pairs
from training.recommender.states import HISTORY_FEATURES, USER_FEATURES, UserStates, read_states

WEEK = timedelta(days=7)
GAP = 2 * WEEK  # from the last label week to the test week
OURS = "two_stage"
SOURCES = (*LIMITS, "popular", "arrivals")
FEATURE_GROUPS: Mapping[str, Sequence[str]] = {
    "pair_scores": [f"{source}_score" for source in PAIR_SOURCES],
    "pair_ranks": [f"{source}_rank" for source in PAIR_SOURCES],
    "own_history": [name.replace("history_", "own_") for name in HISTORY_FEATURES],
    "relations": RELATIONS,
    "user": USER_FEATURES,
    "item": ITEM_FEATURES,
    "text": ["text_score", "text_rank"],
}

MIN_ROWS_PER_LEAF = 100  # of the other libraries; ours asks for a weight instead
Fit = Callable[[Sequence[Examples]], Scorer]


@dataclass(frozen=True)
class Replay:
    """What is replayed: the ranker's parameters, its label weeks, its seed and the parts left out."""

    label_weeks: int = 26
    params: RankerParams = field(default_factory=RankerParams)
    seed: int = 0
    dropped_sources: frozenset[str] = frozenset()
    blanked_features: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """One model's figures: means over customers, the standard deviation between weeks, processor seconds to train."""

    model: str
    customers: int
    figures: Mapping[str, float]
    ndcg_all_spread: float
    train_cpu_seconds: float


class Log:
    """Purchases, with the inputs of each week built once."""

    def __init__(self, purchases: pd.DataFrame) -> None:
        self._purchases = purchases
        self._table = ibis.memtable(purchases)  # once: each one is a copy that lives as long as the process
        self._inputs: dict[datetime, tuple[UserStates, ItemIndex]] = {}

    def before(self, moment: datetime) -> pd.DataFrame:
        return self._purchases[self._purchases["event_time"] < moment]

    def week(self, monday: datetime) -> pd.DataFrame:
        known = self.before(monday + WEEK)
        return known[known["event_time"] >= monday]

    def inputs(self, monday: datetime) -> tuple[UserStates, ItemIndex]:
        """Describe the week's customers and the catalogue as of its Monday."""
        if monday not in self._inputs:
            index = build_index(self._purchases, item_features(self._table, monday).to_pandas(), monday)
            users = np.sort(self.week(monday)["user_id"].unique())
            rows = (
                user_features(self._table, monday)
                .to_pandas()
                .merge(user_history(self._table, monday).to_pandas(), on="user_id")
            )
            self._inputs[monday] = read_states(rows.set_index("user_id").reindex(users).reset_index(), index), index
        return self._inputs[monday]


def bench_recommender(
    purchases: pd.DataFrame,
    weeks: Sequence[datetime],
    *,
    replay: Replay = Replay(),
    baselines: Sequence[str] = tuple(BASELINES),
) -> list[Row]:
    """Measure every baseline and the ranker on the weeks that begin at `weeks`; purchases have the lake's columns."""
    log = Log(purchases)
    rows = [_bench_baseline(log, weeks, name) for name in baselines]
    return [*rows, _bench_ranker(log, weeks, replay, _fit_ours(replay), OURS)]


def bench_parts(purchases: pd.DataFrame, weeks: Sequence[datetime], *, replay: Replay = Replay()) -> list[Row]:
    """Leave out each candidate source and each feature group in turn: what loses nothing has not earned its place."""
    log = Log(purchases)
    without_source = [
        (f"without source {name}", replace(replay, dropped_sources=frozenset({name}))) for name in SOURCES
    ]
    without_features = [
        (f"without features {group}", replace(replay, blanked_features=frozenset(names)))
        for group, names in FEATURE_GROUPS.items()
    ]
    variants = [(OURS, replay), *without_source, *without_features]
    return [_bench_ranker(log, weeks, variant, _fit_ours(variant), name) for name, variant in variants]


def bench_rankers(purchases: pd.DataFrame, weeks: Sequence[datetime], *, replay: Replay = Replay()) -> list[Row]:
    """Fit the same examples with one library after the other, pointwise and listwise, one set of trees for both lists."""
    log = Log(purchases)
    fits = {OURS: _fit_ours(replay)}
    fits |= {"sklearn_binary": partial(_fit_sklearn, replay), "xgboost_binary": partial(_fit_xgboost, replay)}
    fits |= {f"lightgbm_{goal}": partial(_fit_lightgbm, goal, replay) for goal in ("binary", "lambdarank")}
    return [_bench_ranker(log, weeks, replay, fit, name) for name, fit in fits.items()]


def as_table(rows: Sequence[Row]) -> Table:
    """Lay the figures out for a terminal."""
    table = Table(title=f"Recommender, {rows[0].customers} customer-weeks" if rows else "Recommender")
    for column in ("model", *MEASURES, "spread of NDCG all", "CPU s"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        figures = [f"{row.figures[name]:.4f}" for name in MEASURES]
        table.add_row(row.model, *figures, f"{row.ndcg_all_spread:.4f}", f"{row.train_cpu_seconds:.1f}")
    return table


def _bench_baseline(log: Log, weeks: Sequence[datetime], name: str) -> Row:
    figures: list[pd.DataFrame] = []
    seconds: list[float] = []
    for week in weeks:
        states, index = log.inputs(week)
        with _cpu_seconds(seconds):
            plane = BASELINES[name](log.before(week), index)
        figures.append(_measure(log, week, list_items(plane, states, index)))
    return _row(name, figures, seconds)


def _bench_ranker(log: Log, weeks: Sequence[datetime], replay: Replay, fit: Fit, name: str) -> Row:
    figures: list[pd.DataFrame] = []
    seconds: list[float] = []
    cache: dict[datetime, Examples] = {}
    for week in weeks:
        labels = [week - GAP - back * WEEK for back in range(replay.label_weeks)]
        for label in labels:
            cache[label] = cache.get(label) or _examples(log, label, replay)
        with _cpu_seconds(seconds):
            score = fit([cache[label] for label in labels])
        states, index = log.inputs(week)
        [lists] = recommend_each({name: score}, states, index, dropped=replay.dropped_sources).values()
        figures.append(_measure(log, week, lists))
    return _row(name, figures, seconds)


def _examples(log: Log, label: datetime, replay: Replay) -> Examples:
    states, index = log.inputs(label)
    return build_examples(states, index, log.week(label), seed=replay.seed, dropped=replay.dropped_sources)


def _measure(log: Log, week: datetime, lists: pd.DataFrame) -> pd.DataFrame:
    return measure(lists, log.week(week), log.before(week)).assign(week=week)


def _row(name: str, figures: Sequence[pd.DataFrame], seconds: Sequence[float]) -> Row:
    every = pd.concat(figures, ignore_index=True)
    means = {measured: float(every[measured].mean()) for measured in MEASURES}
    spread = float(every.groupby("week")["ndcg_at_10_all"].mean().std(ddof=0))
    return Row(name, len(every), means, spread, float(np.mean(seconds)))


def _fit_ours(replay: Replay) -> Fit:
    columns = [FEATURES.index(name) for name in sorted(replay.blanked_features)]

    def fit(weeks: Sequence[Examples]) -> Scorer:
        blanked = [replace(examples, features=_blank(examples.features, columns)) for examples in weeks]
        model = fit_ranker(blanked, replay.params, seed=replay.seed)
        return lambda features: score_pairs(model, _blank(features, columns))

    return fit


def _blank(features: FloatArray, columns: Sequence[int]) -> FloatArray:
    blanked = features.copy()
    blanked[:, columns] = ABSENT
    return blanked


def _fit_sklearn(replay: Replay, weeks: Sequence[Examples]) -> Scorer:
    model = HistGradientBoostingClassifier(
        max_iter=replay.params.trees,
        learning_rate=replay.params.learning_rate,
        max_leaf_nodes=replay.params.leaves,
        min_samples_leaf=MIN_ROWS_PER_LEAF,
        l2_regularization=replay.params.l2,
        max_features=replay.params.feature_share,
        early_stopping=False,
        random_state=replay.seed,
    )
    return _fit_classifier(model, weeks)


def _fit_xgboost(replay: Replay, weeks: Sequence[Examples]) -> Scorer:
    model = xgboost.XGBClassifier(
        n_estimators=replay.params.trees,
        learning_rate=replay.params.learning_rate,
        grow_policy="lossguide",
        max_depth=0,
        max_leaves=replay.params.leaves,
        min_child_weight=replay.params.min_child_weight,
        reg_lambda=replay.params.l2,
        colsample_bynode=replay.params.feature_share,
        n_jobs=THREADS,
        random_state=replay.seed,
    )
    return _fit_classifier(model, weeks)


def _fit_classifier(model: HistGradientBoostingClassifier | xgboost.XGBClassifier, weeks: Sequence[Examples]) -> Scorer:
    model.fit(
        np.concatenate([examples.features for examples in weeks]),
        np.concatenate([examples.bought for examples in weeks]),
    )
    return lambda features: _for_both_lists(model.predict_proba(features)[:, 1])


def _fit_lightgbm(goal: str, replay: Replay, weeks: Sequence[Examples]) -> Scorer:
    import lightgbm  # a development dependency, needed by the bench alone

    params = {
        "objective": goal,
        "learning_rate": replay.params.learning_rate,
        "num_leaves": replay.params.leaves,
        "min_data_in_leaf": MIN_ROWS_PER_LEAF,
        "lambda_l2": replay.params.l2,
        "feature_fraction_bynode": replay.params.feature_share,
        "seed": replay.seed,
        "num_threads": THREADS,
        "deterministic": True,
        "verbose": -1,
    }
    groups = np.concatenate([np.unique(examples.users, return_counts=True)[1] for examples in weeks])
    data = lightgbm.Dataset(
        np.concatenate([examples.features for examples in weeks]),
        np.concatenate([examples.bought for examples in weeks]),
        group=groups if goal == "lambdarank" else None,
    )
    model = lightgbm.train(params, data, replay.params.trees)
    # Through a sigmoid: lists take what scores above 0, and the raw scores of lambdarank may be negative.
    return lambda features: _for_both_lists(1 / (1 + np.exp(-np.asarray(model.predict(features, raw_score=True)))))


def _for_both_lists(scores: npt.NDArray[np.floating]) -> FloatArray:
    return np.repeat(scores.astype(np.float32)[:, None], len(SCOPES), axis=1)


@contextmanager
def _cpu_seconds(spent: list[float]) -> Iterator[None]:
    began = time.process_time()
    with threadpool_limits(THREADS):
        yield
    spent.append(time.process_time() - began)
