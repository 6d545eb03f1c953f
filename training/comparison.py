"""Compare versions and simple rules on a fresh week's customers, and say how good each was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from ingest.whole_files import write_whole
from training.judging import BASELINES, CANDIDATE, CHAMPION, FIRST, PREVIOUS, JudgedWeek, judge_week
from training.metrics import paired_bootstrap
from training.mlflow_registry import MlflowRegistry
from training.promotion import MODEL
from training.recommender.evaluate import MEASURES
from training.recommender.index import ItemIndex, load_index
from training.week_data import WEEK, WeekData
from training.workspace import Workspace


def compared_versions(ws: Workspace, registry: MlflowRegistry, candidate: str | None = None) -> dict[str, str]:
    """The versions worth comparing on a week, by role: candidate, champion, previous, and the first ever promoted."""
    live = registry.aliases()
    promoted = [d.model_version for d in ws.decisions.read(MODEL) if d.kind == "promotion"]
    roles = {
        CANDIDATE: candidate,
        CHAMPION: live.champion,
        PREVIOUS: live.previous,
        FIRST: promoted[0] if promoted else None,
    }
    return {role: version for role, version in roles.items() if version}


def judge_on_last_week(
    ws: Workspace, as_of: datetime, registry: MlflowRegistry, versions: Mapping[str, str]
) -> JudgedWeek | None:
    """Rank last week's customers as of its Monday by versions, named by role; None when its events are not in the lake.

    Figures are kept, those of the simple rules too: on one Monday the watch and the gates compare some of the same ones.
    The candidate is always ranked, because the gates look at its lists, too.
    """
    data, week = WeekData.of(ws), as_of - WEEK
    known_at = data.labels_known(week, as_of)
    if known_at is None:
        return None
    index = load_or_build_index(ws, data, data.feature_moment(week))
    named = {**versions, **{rule: rule for rule in BASELINES}}
    paths = {role: ws.figures_path(week, name) for role, name in named.items()}
    kept = {role: pd.read_parquet(path) for role, path in paths.items() if path.exists() and role != CANDIDATE}
    scorers = {role: registry.scorer(version) for role, version in versions.items() if role not in kept}
    judged = judge_week(data, week, known_at=known_at, index=index, scorers=scorers, figures=kept)
    if judged is not None:
        for role in judged.lists:
            write_whole(paths[role], judged.figures[role].to_parquet)
    return judged


def load_or_build_index(ws: Workspace, data: WeekData, as_of: datetime) -> ItemIndex:
    """The item index of a Monday; those of weeks before the platform ran were never stored."""
    path = ws.index_path(as_of)
    return load_index(path) if path.exists() else data.build_index(as_of)


def describe_week(judged: JudgedWeek, *, seed: int) -> dict[str, Any]:
    """Every model's mean and interval on every measure, for the week's record."""
    models = {name: summarise(figures, seed=seed) for name, figures in judged.figures.items()}
    return {"week": f"{judged.week:%Y-%m-%d}", "users": judged.users, "models": models}


def summarise(figures: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """Mean and interval of every measure over the customers that it applies to; None where it applies to nobody."""
    return {measure: _with_interval(figures[measure], seed) for measure in MEASURES}


def _with_interval(figures: pd.Series, seed: int) -> dict[str, float] | None:
    counted = figures.dropna().to_numpy()
    if not counted.size:
        return None
    found = paired_bootstrap(counted, counted * 0, seed=seed)
    return {"value": found.value, "low": found.low, "high": found.high}
