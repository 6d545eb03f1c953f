"""Put the previous version back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import dag, task

from dags.assets import ROLLBACK_REQUEST
from dags.logical_week import DEFAULTS, week_of, workspace


@dag(
    schedule=[ROLLBACK_REQUEST],
    start_date=datetime(2009, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["recommender"],
)
def rollback() -> None:
    """When monitoring or a person asks for it: record the decision, then move the alias back."""

    @task(multiple_outputs=False)
    def move_alias_back(**context: Any) -> dict[str, Any]:
        from training.rollback import roll_back_as_requested

        return roll_back_as_requested(workspace(), week_of(context))

    move_alias_back()


rollback()
