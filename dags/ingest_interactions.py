"""Land what arrived by Monday in the lake."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, task

from dags.assets import LAKE
from dags.logical_week import DEFAULTS, announce, week_of, workspace


@dag(
    schedule=CronTriggerTimetable("0 5 * * 1", timezone="UTC"),
    start_date=datetime(2009, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params={"step": "ingest"},
    tags=["recommender"],
)
def ingest_interactions() -> None:
    """Every Monday: read the deliveries, keep what honours the contract, quarantine the rest with the rule it broke."""

    @task(outlets=[LAKE], multiple_outputs=False)
    def land(**context: Any) -> dict[str, Any]:
        from training.weekly import ingest_week

        as_of = week_of(context)
        announce(context, LAKE, as_of)
        return ingest_week(workspace(), as_of)

    land()


ingest_interactions()
