"""Run weeks under a scheduler, by its API: what its clock would start on the next Mondays, now."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from dags.airflow_api import AirflowApi
from dags.logical_week import failure_of, landed_and_watched
from dags.standalone import DAGS
from ingest.errors import PlatformError
from training.settings import store_settings
from training.workspace import Workspace

#: A week takes a minute, and a server that restarts meanwhile may take another two.
PATIENCE_S = 1_800.0
LOOK_S = 2.0

Progress = Callable[[datetime, str], None]


def begin(ws: Workspace, airflow: AirflowApi, progress: Progress) -> None:
    """Let every DAG run, and see that there is something to serve: the first week, if there is none.

    The fraud model's DAG comes last, and is not waited for: its first night lives 40 weeks of history, on all cores.
    """
    if not (ws.home / "settings.json").exists():
        store_settings(ws.settings)
    began = airflow.unpause_once_read(DAGS, patience_s=PATIENCE_S)
    if not ws.weeks_done("score"):
        first = next_week(ws)
        if "retrain_weekly" in began:  # then the clock has started the week by now
            progress(first, "ingest_interactions, watch_recommender, retrain_weekly")
            _wait(lambda: ws.read_part(first, "score") is not None, ws, first, "retrain_weekly")
        else:
            run_week(ws, airflow, first, progress)
    airflow.unpause_once_read(("watch_fraud",), patience_s=PATIENCE_S)


def next_week(ws: Workspace) -> datetime:
    """The Monday after the last whose lists were made; the calendar's is not asked, for the simulated shop is ahead of nobody."""
    done = ws.weeks_done("score")
    return done[-1] + timedelta(days=7) if done else datetime.combine(ws.settings.start, datetime.min.time())


def run_week(ws: Workspace, airflow: AirflowApi, as_of: datetime, progress: Progress) -> None:
    """One Monday under the scheduler: land the events, let what they start run, retrain, and wait for the lists.

    Raises PlatformError when a run failed, with what its task said, or takes longer than half an hour. What was finished is kept,
    and the same call goes on from there.
    """
    conf = {"as_of": f"{as_of:%Y-%m-%d}"}
    progress(as_of, "ingest_interactions")
    _wait_for_run(ws, airflow, "ingest_interactions", airflow.trigger("ingest_interactions", conf), as_of)
    progress(as_of, "watch_recommender")
    _wait(lambda: landed_and_watched(ws, as_of), ws, as_of, "watch_recommender")
    settled = ws.read_part(as_of, "settle")
    progress(as_of, "retrain_weekly")
    if settled is not None and settled["outcome"] == "retrain":  # then the watch has asked for it
        _wait(lambda: ws.read_part(as_of, "score") is not None, ws, as_of, "retrain_weekly")
    else:
        _wait_for_run(ws, airflow, "retrain_weekly", airflow.trigger("retrain_weekly", conf), as_of)


def _wait_for_run(ws: Workspace, airflow: AirflowApi, dag_id: str, run_id: str, as_of: datetime) -> None:
    states: list[str] = []

    def ended() -> bool:
        states.append(airflow.state(dag_id, run_id))
        return states[-1] in ("success", "failed")

    _wait(ended, ws, as_of, dag_id)
    if states[-1] == "failed":
        raise PlatformError(_failure(ws, as_of, dag_id))


def _wait(over: Callable[[], bool], ws: Workspace, as_of: datetime, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not over():
        if ws.weeks.failed(as_of):
            raise PlatformError(_failure(ws, as_of, what))
        if time.monotonic() > deadline:
            raise PlatformError(
                f"{what} of {as_of:%Y-%m-%d} takes longer than {PATIENCE_S:.0f} s; its page in Airflow says where it is."
            )
        time.sleep(LOOK_S)


def _failure(ws: Workspace, as_of: datetime, dag_id: str) -> str:
    return f"{failure_of(ws, as_of, dag_id)} Its log in Airflow says more."
