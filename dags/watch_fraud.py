"""Watch the fraud model every day, name the cause of what is unusual, and act on the cause."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import CronTriggerTimetable, dag, task

from dags.logical_day import DEFAULTS, cards, day_of
from monitoring.fraud.answers import ANSWERS, DEFAULT_ANSWER
from training.fraud.candidate_question import CANDIDATE_ANSWERS, DEFAULT_CANDIDATE_ANSWER
from training.settings import settings_from_environment

#: Tomorrow's watch waits for today's, which may ask twice: nobody may hold it up for longer than that.
LONGEST_S = 10 * 3600.0


def _patience() -> timedelta:
    """How long to wait for an answer; the operator has to be told when the DAG is read, it renders no template for it."""
    return timedelta(seconds=min(settings_from_environment().human_timeout_s, LONGEST_S))


@dag(
    schedule=CronTriggerTimetable("0 1 * * *", timezone="UTC"),
    start_date=datetime(2009, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["fraud"],
)
def watch_fraud() -> None:
    """Every night: the day's tables, the windows for the next, evidence and diagnosis; a person where the policy asks for one.

    What follows is the answer to the cause. A model is fitted only on data and labels that nobody doubts; it scores in the shadow for
    four weeks, until what came meanwhile has its labels, and its gates decide.
    """

    @task(multiple_outputs=False)
    def live(**context: Any) -> dict[str, Any]:
        from monitoring.fraud.beginning import begin
        from monitoring.fraud.issuer import live_day

        begin(cards())
        return live_day(cards(), day_of(context))

    @task(multiple_outputs=False)
    def windows(lived: dict[str, Any]) -> dict[str, Any]:
        from monitoring.fraud.online_windows import write_windows

        return write_windows(cards(), midnight(lived))

    @task(multiple_outputs=False)
    def watch(written: dict[str, Any]) -> dict[str, Any]:
        from monitoring.fraud.watch_day import watch_day

        return watch_day(cards(), midnight(written))

    @task.branch
    def route(watched: dict[str, Any]) -> str:
        from monitoring.fraud.watch_day import is_to_be_asked

        return "ask" if is_to_be_asked(cards(), midnight(watched)) else "settle"

    ask = HITLOperator(
        task_id="ask",
        subject="The fraud model needs a decision: {{ ti.xcom_pull(task_ids='watch')['cause'] }}",
        body="{{ ti.xcom_pull(task_ids='watch')['question'] }}",
        options=list(ANSWERS),
        defaults=DEFAULT_ANSWER,
        response_timeout=_patience(),
    )

    @task(trigger_rule="none_failed_min_one_success", multiple_outputs=False)
    def settle(watched: dict[str, Any], **context: Any) -> dict[str, Any]:
        from monitoring.fraud.watch_day import settle_day

        return settle_day(cards(), midnight(watched), context["ti"].xcom_pull(task_ids="ask"))

    @task(multiple_outputs=False)
    def tell(settled: dict[str, Any]) -> dict[str, str | None]:
        from monitoring.fraud.nightly_pages import write_pages

        return write_pages(cards(), midnight(settled))

    @task.branch
    def act(settled: dict[str, Any]) -> list[str]:
        from monitoring.fraud.act import tasks_for

        return tasks_for(cards(), midnight(settled))

    @task(multiple_outputs=False)
    def go_back(settled: dict[str, Any]) -> dict[str, Any]:
        from monitoring.fraud.act import go_back

        return go_back(cards(), midnight(settled))

    @task(multiple_outputs=False)
    def fit(settled: dict[str, Any]) -> dict[str, Any]:
        from training.fraud.daily import fit_in_shadow

        return fit_in_shadow(cards(), midnight(settled))

    @task(multiple_outputs=False)
    def calibrate(settled: dict[str, Any]) -> dict[str, Any]:
        from training.fraud.daily import recalibrate

        return recalibrate(cards(), midnight(settled))

    @task(trigger_rule="none_failed_min_one_success", multiple_outputs=False)
    def judge(**context: Any) -> dict[str, Any]:
        from training.fraud.daily import judge_candidate

        return judge_candidate(cards(), midnight(context["ti"].xcom_pull(task_ids="settle")))

    @task(multiple_outputs=False)
    def promote(judged: dict[str, Any]) -> dict[str, Any]:
        from training.fraud.daily import promote_or_refuse

        return promote_or_refuse(cards(), midnight(judged))

    @task.branch
    def unsure(promoted: dict[str, Any]) -> str | None:
        from training.fraud.daily import is_to_be_settled

        return "ask_about_candidate" if is_to_be_settled(cards(), midnight(promoted)) else None

    ask_about_candidate = HITLOperator(
        task_id="ask_about_candidate",
        subject="The gates leave a fraud candidate to a person",
        body="{{ ti.xcom_pull(task_ids='promote')['question'] }}",
        options=list(CANDIDATE_ANSWERS),
        defaults=DEFAULT_CANDIDATE_ANSWER,
        response_timeout=_patience(),
    )

    @task(multiple_outputs=False)
    def settle_candidate(promoted: dict[str, Any], **context: Any) -> dict[str, Any]:
        from training.fraud.daily import settle_candidate

        answer = context["ti"].xcom_pull(task_ids="ask_about_candidate")
        return settle_candidate(cards(), midnight(promoted), answer)

    @task(trigger_rule="none_failed", multiple_outputs=False)
    def close(settled: dict[str, Any]) -> dict[str, Any]:
        # Without this part the next run is about the same night again, and each step that was done is not done twice.
        return cards().parts.once(midnight(settled), "night", lambda: {"as_of": settled["as_of"]})

    watched = watch(windows(live()))
    settled = settle(watched)
    route(watched) >> [ask, settled]
    ask >> settled
    told, calibrated, judged = tell(settled), calibrate(settled), judge()
    went_back, fitted = go_back(settled), fit(settled)
    act(settled) >> [went_back, fitted, calibrated, judged]
    calibrated >> judged
    promoted = promote(judged)
    candidate_settled = settle_candidate(promoted)
    unsure(promoted) >> ask_about_candidate >> candidate_settled
    [told, went_back, fitted, promoted, candidate_settled] >> close(settled)


def midnight(reference: dict[str, Any]) -> datetime:
    return datetime.strptime(reference["as_of"], "%Y-%m-%d")


watch_fraud()
