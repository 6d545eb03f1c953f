"""Retrain the recommender and let the gates decide."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, PokeReturnValue, dag, task

from dags.assets import RECOMMENDATIONS, RETRAIN_REQUEST
from dags.logical_week import DEFAULTS, announce, landed_and_watched, week_of, workspace

POKE_S = 15
PATIENCE_S = 12 * 3600


def monday(reference: dict[str, Any]) -> datetime:
    return datetime.strptime(reference["as_of"], "%Y-%m-%d")


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 6 * * 1", timezone="UTC"), assets=[RETRAIN_REQUEST]),
    start_date=datetime(2009, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["recommender"],
)
def retrain_weekly() -> None:
    """Every Monday, or when monitoring asks: snapshot, features, fit, evaluate, judge, promote or refuse, score.

    The snapshot waits until the week's events have landed and were watched, whatever the clock says.
    Each task returns a small reference; the data stay in the workspace. A held training run or a refusal is a value
    that travels down the line, so that the week's lists are always made, by whichever version is live.
    """

    @task.sensor(mode="reschedule", poke_interval=POKE_S, timeout=PATIENCE_S)
    def snapshot(**context: Any) -> PokeReturnValue:
        from training.weekly import take_snapshot

        ws, as_of = workspace(), week_of(context)
        if not landed_and_watched(ws, as_of):
            return PokeReturnValue(is_done=False)
        trigger = (context["dag_run"].conf or {}).get("trigger") or (
            "request" if context["triggering_asset_events"] else "clock"
        )
        return PokeReturnValue(is_done=True, xcom_value=take_snapshot(ws, as_of, trigger=trigger))

    @task(multiple_outputs=False)
    def features(snapshot: dict[str, Any]) -> dict[str, Any]:
        from training.weekly import build_features

        return build_features(workspace(), monday(snapshot))

    @task(multiple_outputs=False)
    def fit(features: dict[str, Any]) -> dict[str, Any]:
        from training.weekly import fit_candidate

        return fit_candidate(workspace(), monday(features))

    @task(multiple_outputs=False)
    def evaluate(candidate: dict[str, Any]) -> dict[str, Any]:
        from training.weekly import evaluate_candidate

        return evaluate_candidate(workspace(), monday(candidate))

    @task(multiple_outputs=False)
    def judge(evaluation: dict[str, Any]) -> dict[str, Any]:
        from training.weekly import judge_candidate

        return judge_candidate(workspace(), monday(evaluation))

    @task(multiple_outputs=False)
    def promote(verdict: dict[str, Any]) -> dict[str, Any]:
        from training.weekly import promote_or_refuse

        return promote_or_refuse(workspace(), monday(verdict))

    @task(outlets=[RECOMMENDATIONS], multiple_outputs=False)
    def score(live: dict[str, Any], **context: Any) -> dict[str, Any]:
        from training.weekly import score_week

        announce(context, RECOMMENDATIONS, monday(live))
        return score_week(workspace(), monday(live))

    score(promote(judge(evaluate(fit(features(snapshot()))))))


retrain_weekly()
