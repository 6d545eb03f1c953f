"""Read back what serving reads: whether the online store holds what the lake gives, and how old that is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from feature_repo.feast_store import FeastStore, OnlineRow
from ingest.errors import FeatureError
from training.gates import GatePolicy
from training.parity import parity_gap
from training.vocabulary import Evidence
from training.week_data import WEEK, WeekData
from training.workspace import Workspace

#: A fault that hits one customer in twenty is among a hundred with 99.4 %; reading them takes half a second.
SAMPLED_CUSTOMERS = 100
#: The age that nine customers in ten are within. The newest row alone would hide a refresh that reached only a part of them,
#: the oldest would be that of one row that was forgotten.
REACHED = 0.9


def online_evidence(ws: Workspace, as_of: datetime) -> dict[str, Evidence]:
    """What the watch asks about the features that serving reads, from a sample of the customers known on the Monday due.

    `feature_mismatch` is the share of them whose online row differs from the offline features of the row's own moment, or is
    not there; `feature_age_days` how long ago nine rows in ten became available, `feature_due_days` how long ago it was by
    what the lake had. A store that does not answer leaves all of them without a value, which the policy takes for a blind spot.
    """
    filled = any(week < as_of for week in ws.weeks_done("features"))
    found = Evidence("online_filled", filled, "steps of the weeks before")
    if not filled:
        return {found.name: found}
    data = WeekData.of(ws)
    due = data.feature_moment(as_of - WEEK)
    users = _sample(data.known_users(due), seed=ws.settings.seed)
    source = f"online store against the lake's features, due of {due:%Y-%m-%d}"
    try:
        rows = data.store.online_rows("user_id", users)
        mismatch = _mismatch(data.store, users, rows)
    except FeatureError as error:
        source, rows, mismatch = str(error), [], None
    figures = (
        Evidence("feature_mismatch", mismatch, source, n=len(rows)),
        Evidence("feature_age_days", _age_days(rows, as_of), source, n=len(rows)),
        Evidence("feature_due_days", (as_of - due) / timedelta(days=1), source),
    )
    return {evidence.name: evidence for evidence in (found, *figures)}


def _sample(users: Sequence[str], *, seed: int) -> list[str]:
    count = min(SAMPLED_CUSTOMERS, len(users))
    return sorted(np.random.default_rng(seed).choice(np.array(users, object), count, replace=False).tolist())


def _mismatch(store: FeastStore, users: Sequence[str], rows: Sequence[OnlineRow | None]) -> float | None:
    # Each row beside the features of its own moment: how old it is, is another question.
    differs = [row is None or _differs(store, user, row) for user, row in zip(users, rows, strict=True)]
    return sum(differs) / len(differs) if differs else None


def _differs(store: FeastStore, user: str, row: OnlineRow) -> bool:
    return parity_gap(store, [user], row.available_at) > GatePolicy().max_parity_gap


def _age_days(rows: Sequence[OnlineRow | None], as_of: datetime) -> float | None:
    ages = [(as_of - row.available_at) / timedelta(days=1) for row in rows if row]
    return float(np.quantile(ages, REACHED, method="higher")) if ages else None
