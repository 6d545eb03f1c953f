"""Gather the evidence about a candidate: it, the champion, older versions and simple rules on the same fresh week."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from feature_repo.feast_store import FeastStore
from training.metrics import paired_bootstrap
from training.parity import parity_gap
from training.recommender.baselines import BASELINES as ALL_BASELINES
from training.recommender.evaluate import measure
from training.recommender.index import ItemIndex
from training.recommender.rank import Scorer, list_items, recommend, recommend_each
from training.recommender.states import USER_FEATURES, UserStates, read_states
from training.vocabulary import Evidence
from training.week_data import WeekData

#: What a version is called in evidence and in the report.
CANDIDATE, CHAMPION, PREVIOUS, FIRST = "candidate", "champion", "previous", "first"

#: Simple rules that need no training, by the names under which the gates ask for them.
BASELINES = ("popularity_4w", "repeat_x_popularity")

TIMED_USERS = 20
PARITY_USERS = 50


@dataclass(frozen=True)
class JudgedWeek:
    """A fresh week: who was active, what they bought, and the lists' quality by model, one row per customer."""

    week: datetime
    index: ItemIndex
    states: UserStates
    countries: np.ndarray
    figures: Mapping[str, pd.DataFrame]
    lists: Mapping[str, pd.DataFrame]

    @property
    def users(self) -> int:
        return self.states.size


def judge_week(
    data: WeekData,
    week: datetime,
    *,
    known_at: datetime,
    index: ItemIndex,
    scorers: Mapping[str, Scorer],
    figures: Mapping[str, pd.DataFrame],
) -> JudgedWeek | None:
    """Let every scorer and baseline rank the week's active customers from what was known on its Monday.

    `figures` are those that were measured before, on this very week. None when nobody bought anything: then there is
    nothing to judge by, and the gates say so.
    """
    bought = data.bought_in(week, known_at=known_at)
    if bought.empty or not index.size:
        return None
    rows = data.store.historical("user_id", np.sort(bought["user_id"].unique()).tolist(), index.as_of)
    states = read_states(rows, index)
    earlier = data.purchases(week).to_pandas()
    lists = recommend_each(scorers, states, index)
    lists |= {
        name: list_items(ALL_BASELINES[name](earlier, index), states, index)
        for name in BASELINES
        if name not in figures
    }
    figures = {**figures, **{name: measure(listed, bought, earlier) for name, listed in lists.items()}}
    return JudgedWeek(week, index, states, rows["user_country"].fillna("").to_numpy(dtype=str), figures, lists)


def quality_evidence(judged: JudgedWeek, *, seed: int) -> dict[str, Evidence]:
    """What the gates ask about quality, from the paired figures of the judged week."""
    source = f"week of {judged.week:%Y-%m-%d}"
    found: list[Evidence] = [Evidence("users_judged", judged.users, source, n=judged.users)]
    for name in BASELINES:
        found.append(_difference(f"ndcg_diff_vs_baseline:{name}", judged, "ndcg_at_10_all", name, seed=seed))
        found.append(_difference(f"ndcg_new_diff_vs_baseline:{name}", judged, "ndcg_at_10_new", name, seed=seed))
        found.append(_difference(f"recall_diff_vs_baseline:{name}", judged, "recall_at_20_all", name, seed=seed))
    rival = CHAMPION if CHAMPION in judged.figures else best_baseline(judged)
    if rival == CHAMPION:
        found.append(_difference("ndcg_diff_vs_champion", judged, "ndcg_at_10_all", CHAMPION, seed=seed))
    for name, members in slices(judged).items():
        found.append(
            _difference(f"slice_ndcg_diff:{name}", judged, "ndcg_at_10_all", rival, seed=seed, members=members)
        )
    shown = judged.lists[CANDIDATE].query("scope == 'all' and rank <= 10")["item_id"].nunique()
    found.append(
        Evidence("catalogue_coverage", shown / min(judged.index.size, 10 * judged.users), source, n=judged.users)
    )
    return {evidence.name: evidence for evidence in found}


def operating_evidence(
    score: Scorer, judged: JudgedWeek, store: FeastStore, *, as_of: datetime, artefact_mb: float
) -> dict[str, Evidence]:
    """What the gates ask about running the candidate: time per customer, size, whether serving sees the same features."""
    users = judged.states.user_ids[:PARITY_USERS].tolist()
    gap = parity_gap(store, users, as_of)
    found = (
        Evidence(
            "scoring_ms_per_user",
            _ms_per_user(score, judged),
            "candidates, features and scores of one customer at a time",
            n=TIMED_USERS,
        ),
        Evidence("artefact_size_mb", artefact_mb, "ranker and item index as stored"),
        Evidence("train_serve_max_abs_diff", gap, f"offline against online features on {as_of:%Y-%m-%d}", n=len(users)),
    )
    return {evidence.name: evidence for evidence in found}


def best_baseline(judged: JudgedWeek) -> str:
    return max(BASELINES, key=lambda name: judged.figures[name]["ndcg_at_10_all"].mean())


def slices(judged: JudgedWeek) -> dict[str, np.ndarray]:
    """Who must not pay for the average, as masks over the judged customers.

    New is without any earlier purchase; heavy and light are split at the median of the customers known before; home is
    the most frequent country. A log without countries has nobody in the country slices.
    """
    purchases = judged.states.features[:, USER_FEATURES.index("user_purchases")]
    known, named = purchases >= 0, judged.countries != ""
    middle = np.median(purchases[known]) if known.any() else 0.0
    values, counts = np.unique(judged.countries[named], return_counts=True)
    home = named & (judged.countries == values[counts.argmax()]) if values.size else named
    return {
        "new_customers": ~known,
        "home_country": home,
        "other_countries": named & ~home,
        "heavy_buyers": known & (purchases > middle),
        "light_buyers": known & (purchases <= middle),
    }


def _difference(
    name: str, judged: JudgedWeek, measure_name: str, rival: str, *, seed: int, members: np.ndarray | None = None
) -> Evidence:
    ours, theirs = judged.figures[CANDIDATE][measure_name].to_numpy(), judged.figures[rival][measure_name].to_numpy()
    counted = ~np.isnan(ours) & (members if members is not None else True)
    source = f"{CANDIDATE} minus {rival}, {measure_name}, week of {judged.week:%Y-%m-%d}"
    if not counted.any():
        return Evidence(name, None, source, n=0)
    found = paired_bootstrap(ours[counted], theirs[counted], seed=seed)
    return Evidence(name, found.value, source, n=found.n, low=found.low, high=found.high)


def _ms_per_user(score: Scorer, judged: JudgedWeek) -> float:
    seconds = []
    with threadpool_limits(1):
        for one in list(judged.states.batches(1))[:TIMED_USERS]:
            # Processor time, and the median of it: a busy neighbour on the machine is not the model's slowness.
            began = time.process_time()
            recommend(score, one, judged.index)
            seconds.append(time.process_time() - began)
    return float(np.median(seconds)) * 1000
