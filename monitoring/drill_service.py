"""Answer customers in a drill as the service would, so that they are shown what a harmed store or version makes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.feast_store import OnlineRow
from ingest.errors import ReplayError
from ingest.whole_files import write_whole
from training.comparison import load_or_build_index
from training.mlflow_registry import MlflowRegistry
from training.predictions import SCHEMA, Part, Prediction, hour_of, log_of
from training.promotion import aliases_after
from training.recommender.artefact import RANKER
from training.recommender.rank import recommend
from training.recommender.states import read_states
from training.week_data import WeekData
from training.workspace import Workspace


def serve_week(ws: Workspace, as_of: datetime) -> None:
    """Answer every known customer as the service would in the week from `as_of`: with what is live, from the online store.

    Raises ReplayError when nothing is live.
    """
    data, version = WeekData.of(ws), aliases_after(ws.decisions.read()).champion
    if version is None:
        raise ReplayError(
            f"Nothing is live in the week of {as_of:%Y-%m-%d}, so the drill has nothing to harm; try another --seed."
        )
    index = load_or_build_index(ws, data, data.feature_moment(as_of))
    users = data.known_users(index.as_of)
    states = read_states(data.store.online("user_id", users), index)
    lists = recommend(MlflowRegistry(ws.settings, RANKER).scorer(version), states, index)
    read, at = dict(zip(users, data.store.online_rows("user_id", users), strict=True)), as_of.replace(tzinfo=UTC)
    answers = [
        _answer(shown, read[str(user)], at=at, index_as_of=index.as_of, version=version)
        for (user, _), shown in lists.groupby(["user_id", "scope"], sort=False)
    ]
    table = pa.Table.from_pylist([answer._asdict() for answer in answers], schema=SCHEMA)
    write_whole(Part(log_of(ws.home), hour_of(at), "drill").parquet, partial(pq.write_table, table))


def _answer(
    shown: pd.DataFrame, read: OnlineRow | None, *, at: datetime, index_as_of: datetime, version: str
) -> Prediction:
    user, scope = shown[["user_id", "scope"]].iloc[0]
    return Prediction(
        request_id=f"drill {at:%Y-%m-%d} {user} {scope}",
        at=at,
        user_id=user,
        slot="champion",
        slice="rest",
        model_version=version,
        list=scope,
        item_ids=shown["item_id"].tolist(),
        scores=shown["score"].tolist(),
        rung="fresh" if read else "no_features",
        known=read is not None,
        features_at=read.available_at.replace(tzinfo=UTC) if read else None,
        index_as_of=index_as_of.replace(tzinfo=UTC),
        latency_ms=0.0,
        worker=0,
    )
