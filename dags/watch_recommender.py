"""Look at last week, and decide between holding, retraining, rolling back and asking a person."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import dag, task

from dags.assets import LAKE, RETRAIN_REQUEST, ROLLBACK_REQUEST
from dags.logical_week import DEFAULTS, announce, week_of, workspace
from monitoring.policy import ANSWERS, DEFAULT_ANSWER
from training.settings import settings_from_environment


def _patience() -> timedelta:
    """How long to wait for the answer; the operator has to be told when the DAG is read, it renders no template for it."""
    return timedelta(seconds=settings_from_environment().human_timeout_s)


@dag(
    schedule=[LAKE],
    start_date=datetime(2009, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["recommender"],
)
def watch_recommender() -> None:
    """When a week's events have landed: gather evidence, choose an action, ask if need be, request what was settled."""

    @task(multiple_outputs=False)
    def watch(**context: Any) -> dict[str, Any]:
        from monitoring.watch import watch_week

        return watch_week(workspace(), week_of(context))

    @task.branch
    def route(watched: dict[str, Any], **context: Any) -> str:
        # Nobody is asked twice about the same week, however often it is run.
        settled = workspace().read_part(week_of(context), "settle") is not None
        return "ask" if watched["action"]["name"] == "ask_a_person" and not settled else "settle"

    ask = HITLOperator(
        task_id="ask",
        subject="The recommender needs a decision: {{ ti.xcom_pull(task_ids='watch')['action']['cause'] }}",
        body="{{ ti.xcom_pull(task_ids='watch')['question'] }}",
        options=list(ANSWERS),
        defaults=DEFAULT_ANSWER,
        response_timeout=_patience(),
    )

    @task(trigger_rule="none_failed_min_one_success", multiple_outputs=False)
    def settle(_watched: dict[str, Any], **context: Any) -> dict[str, Any]:
        from monitoring.watch import settle_week

        answer = context["ti"].xcom_pull(task_ids="ask")
        return settle_week(workspace(), week_of(context), answer)

    @task.branch
    def act(settled: dict[str, Any]) -> str | None:
        return {"retrain": "request_retrain", "roll_back": "request_rollback"}.get(settled["outcome"])

    @task(outlets=[RETRAIN_REQUEST])
    def request_retrain(**context: Any) -> None:
        announce(context, RETRAIN_REQUEST, week_of(context))

    @task(outlets=[ROLLBACK_REQUEST])
    def request_rollback(**context: Any) -> None:
        announce(context, ROLLBACK_REQUEST, week_of(context))

    action = watch()
    settled = settle(action)
    route(action) >> [ask, settled]
    ask >> settled
    act(settled) >> [request_retrain(), request_rollback()]


watch_recommender()
