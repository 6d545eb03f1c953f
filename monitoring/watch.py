"""Watch the live recommender: gather last week's evidence, choose an action, settle it with a person where asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from ingest.whole_files import write_whole
from monitoring.history import trailing
from monitoring.online_features import online_evidence
from monitoring.policy import ANSWERS, WatchPolicy, choose_action
from training.comparison import compared_versions, judge_on_last_week, summarise
from training.judging import CHAMPION, PREVIOUS
from training.lists import answered_online, as_really_served, lists_served_to, read_lists
from training.metrics import paired_bootstrap
from training.mlflow_registry import MlflowRegistry
from training.predictions import log_of, read_predictions
from training.promotion import MODEL
from training.recommender.artefact import RANKER
from training.recommender.evaluate import measure
from training.recommender.states import USER_FEATURES
from training.vocabulary import Action, Decision, Evidence
from training.week_data import WEEK, WeekData
from training.workspace import Workspace

if TYPE_CHECKING:
    from monitoring.evidently_reports import DriftReport

#: Weeks that realised quality is compared with, and that must have arrived whole for the data to count as verified.
HISTORY_WEEKS = 8

#: PSI above 0.2 is the usual sign of a moved distribution; with 300 customers a week chance alone gives about 0.05.
DRIFT_THRESHOLD = 0.2

#: Features of a customer that grow with the log's age would drift for ever; these describe behaviour.
WATCHED = (
    "user_orders_4w", "user_purchases_4w", "user_median_basket", "user_repeat_share", "user_median_price",
    "user_median_quantity", "user_days_since_last",
)  # fmt: skip
#: What was predicted, in a number that any two versions share; their scores are comparable within one customer's list only.
PREDICTION = "shown_popularity"
assert set(WATCHED) <= set(USER_FEATURES)


def watch_week(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Measure what was recommended against what was bought, compare versions and distributions, choose an action."""

    def work() -> dict[str, Any]:
        evidence, found = _gather(ws, as_of)
        action = choose_action(evidence, WatchPolicy())
        return {
            "as_of": f"{as_of:%Y-%m-%d}",
            **found,
            "evidence": {name: e.to_dict() for name, e in evidence.items()},
            "action": action.to_dict(),
            "question": question(action, as_of),
        }

    return ws.once(as_of, "watch", work)


def settle_week(ws: Workspace, as_of: datetime, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Turn the chosen action, and a person's answer where one was asked for, into what will be done, and record it.

    `answer` is what Airflow's human-in-the-loop operator returns: `chosen_options` and `responded_by_user` (None when
    nobody answered in time and the stated default was taken).
    """

    def work() -> dict[str, Any]:
        part = ws.read_part(as_of, "watch") or {}
        action = Action.from_dict(part["action"])
        if action.name != "ask_a_person":
            decision = _decision(
                as_of, action, actor="policy", outcome=action.name, snapshot_id=ws.lake.snapshot(as_of).id
            )
            return _settled(ws, as_of, decision, answer=None)
        choice = (answer or {})["chosen_options"][0]
        user = (answer or {}).get("responded_by_user")
        actor = f"person:{user['name']}" if user else "policy-default"
        decision = _decision(
            as_of, action, actor=actor, outcome=ANSWERS[choice], snapshot_id=ws.lake.snapshot(as_of).id
        )
        if decision.action == "retrain" and (fitted := ws.read_part(as_of, "fit")):
            version = (fitted["candidate"] or {}).get("version", "none, training was held")
            late = f"; asked to retrain, but this week's data has been fitted already (version: {version})"
            decision = replace(decision, action="hold", reason=decision.reason + late)
        return _settled(ws, as_of, decision, answer={"choice": choice, "by": actor})

    return ws.once(as_of, "settle", work)


def question(action: Action, as_of: datetime) -> str:
    """What a person is shown when asked: the cause, the reason, the evidence and the choices, as Markdown."""
    figures = [
        f"| {e.name} | {_figure(e.value)} | {_figure(e.low)} to {_figure(e.high)} | {e.n or ''} | {e.source} |"
        for e in action.evidence
    ]
    table = ["| evidence | value | interval | n | source |", "|---|---|---|---|---|", *figures]
    return "\n".join([f"**Week of {as_of:%Y-%m-%d}: {action.cause}.** {action.reason}.", "", *table])


def _gather(ws: Workspace, as_of: datetime) -> tuple[dict[str, Evidence], dict[str, Any]]:
    registry, snapshot = MlflowRegistry(ws.settings, RANKER), ws.lake.snapshot(as_of)
    held_before = _held(ws, as_of - WEEK)
    accepted = snapshot.contract_state == "accepted"
    # Weeks that a candidate would learn from, or drift be compared with, and that never arrived whole.
    holes = [week for week in snapshot.missing_weeks if week >= (as_of - HISTORY_WEEKS * WEEK).date()]
    source = f"lake at {as_of:%Y-%m-%d}"
    evidence = {
        "contract_state": Evidence("contract_state", snapshot.contract_state, source),
        "feed_restored": Evidence("feed_restored", held_before and accepted and not holes, source),
        "data_verified": Evidence("data_verified", accepted and not holes, source),
        **online_evidence(ws, as_of),
        **_release_evidence(ws, registry, as_of),
    }
    realised = realised_quality(ws, as_of)
    past = [
        p["realised"]["ndcg_at_10_all"]["value"]
        for p in _past(ws, as_of)
        if p.get("realised") and p["realised"]["ndcg_at_10_all"]
    ]
    evidence |= trailing(past, weeks=HISTORY_WEEKS, source=f"realised quality of the {HISTORY_WEEKS} weeks before")
    if realised:
        figure = realised["ndcg_at_10_all"]
        evidence["realised_ndcg"] = Evidence(
            "realised_ndcg",
            figure["value"],
            f"lists of {realised['week']} against its purchases",
            realised["users"],
            figure["low"],
            figure["high"],
        )
    drift = _drift(ws, as_of)
    return evidence | _drift_evidence(drift), {
        "champion": registry.aliases().champion,
        "realised": realised,
        "drift": drift,
    }


def realised_quality(ws: Workspace, as_of: datetime) -> dict[str, Any] | None:
    """How good last week's lists were, now that its purchases are in; beside it, the very first lists, never renewed.

    None when nothing was served yet, or the week's events are not in the lake.
    """
    data, week = WeekData.of(ws), as_of - WEEK
    known_at = data.labels_known(week, as_of)
    if known_at is None or not ws.recommendations_path(week).exists():
        return None
    bought = data.bought_in(week, known_at=known_at)
    if bought.empty:
        return None
    earlier, users = data.purchases(week).to_pandas(), sorted(bought["user_id"].unique())
    served = served_in(ws, week)
    first = read_lists(ws.recommendations_path(ws.weeks_done("score")[0]))
    figures = measure(lists_served_to(served, users), bought, earlier)
    frozen = measure(lists_served_to(first, users), bought, earlier)
    return {
        "week": f"{week:%Y-%m-%d}",
        "users": len(users),
        "version": served["model_version"].iloc[0],
        **summarise(figures, seed=ws.settings.seed),
        "frozen_lists": summarise(frozen, seed=ws.settings.seed),
    }


def served_in(ws: Workspace, week: datetime) -> pd.DataFrame:
    """What customers were shown in a week: what the service answered, by its log, and the batch's lists for all others."""
    begins, ends = (moment.replace(tzinfo=UTC) for moment in (week, week + WEEK))
    online = answered_online(read_predictions(log_of(ws.home), begins, until=ends))
    return as_really_served(read_lists(ws.recommendations_path(week)), online)


def _release_evidence(ws: Workspace, registry: MlflowRegistry, as_of: datetime) -> dict[str, Evidence]:
    versions = compared_versions(ws, registry)
    has_previous = CHAMPION in versions and PREVIOUS in versions
    found = {"has_previous": Evidence("has_previous", has_previous, "registry")}
    promotions = [
        d for d in ws.decisions.read(MODEL) if d.kind == "promotion" and d.model_version == versions.get(CHAMPION)
    ]
    if promotions:
        age = (as_of - datetime.fromisoformat(promotions[-1].at)) / WEEK
        found["weeks_since_promotion"] = Evidence("weeks_since_promotion", age, "decision log")
    if has_previous:
        pair = {role: versions[role] for role in (CHAMPION, PREVIOUS)}
        if judged := judge_on_last_week(ws, as_of, registry, pair):
            ours, theirs = (judged.figures[role]["ndcg_at_10_all"].to_numpy() for role in (CHAMPION, PREVIOUS))
            d = paired_bootstrap(ours, theirs, seed=ws.settings.seed)
            source = f"version {versions[CHAMPION]} minus version {versions[PREVIOUS]}, week of {judged.week:%Y-%m-%d}"
            found["ndcg_diff_vs_previous"] = Evidence("ndcg_diff_vs_previous", d.value, source, d.n, d.low, d.high)
    return found


def _drift(ws: Workspace, as_of: datetime) -> dict[str, Any] | None:
    """Last week's customers and what they were shown against the four weeks before; None while there are too few weeks."""
    from monitoring.evidently_reports import EvidentlyReports  # two seconds, for which settling a week need not wait

    current, reference = _observed(ws, as_of - WEEK), [_observed(ws, as_of - k * WEEK) for k in range(2, 6)]
    known = [frame for frame in reference if frame is not None and PREDICTION in frame]
    if current is None or PREDICTION not in current or not known:
        return None
    thresholds = dict.fromkeys((*WATCHED, PREDICTION), DRIFT_THRESHOLD)
    report = EvidentlyReports(ws.home, server=ws.settings.evidently_url).drift(
        "recommender", pd.concat(known, ignore_index=True), current, as_of=as_of, thresholds=thresholds
    )
    return _drift_record(report)


def _observed(ws: Workspace, week: datetime) -> pd.DataFrame | None:
    """What the live model saw and showed in a week, kept once it is over: the weeks after it are compared with it."""
    path = ws.home / "observed" / f"{week:%Y-%m-%d}.parquet"
    if not path.exists():
        frame = _observe(ws, week)
        if frame is None:
            return None
        write_whole(path, frame.to_parquet)
    return pd.read_parquet(path)


def _observe(ws: Workspace, week: datetime) -> pd.DataFrame | None:
    """The features of a week's active customers as of its Monday, and how popular the ten items were that each was shown.

    Popularity is an item's place among all by its purchases of the four weeks before, from 0 to 1.
    """
    data = WeekData.of(ws)
    known_at = data.labels_known(week, week + WEEK)
    if known_at is None or not data.store.has_rows(week):
        return None
    users = sorted(data.bought_in(week, known_at=known_at)["user_id"].unique())
    if not users:
        return None
    features = data.store.historical("user_id", users, week).set_index("user_id")[list(WATCHED)]
    if not ws.recommendations_path(week).exists():
        return features.reset_index(drop=True)
    shown = lists_served_to(served_in(ws, week), users).query("scope == 'all' and rank <= 10")
    items = data.store.historical("item_id", data.store.keys("item_features", week), week).set_index("item_id")
    popularity = shown["item_id"].map(items["item_purchases_4w"].rank(pct=True)).fillna(0.0)
    return features.join(popularity.groupby(shown["user_id"]).mean().rename(PREDICTION)).reset_index(drop=True)


def _drift_record(report: DriftReport) -> dict[str, Any]:
    columns = [
        {"column": c.column, "score": round(c.score, 4), "threshold": c.threshold, "drifted": c.drifted}
        for c in report.columns
    ]
    return {
        "report": report.path,
        "columns": [c for c in columns if c["column"] != PREDICTION],
        "prediction": next(c for c in columns if c["column"] == PREDICTION),
    }


def _drift_evidence(drift: dict[str, Any] | None) -> dict[str, Evidence]:
    if drift is None:
        return {}
    moved = [c["drifted"] for c in drift["columns"]]
    return {
        "drifted_share": Evidence("drifted_share", sum(moved) / len(moved), drift["report"], n=len(moved)),
        "prediction_drifted": Evidence("prediction_drifted", drift["prediction"]["drifted"], drift["report"]),
    }


def _past(ws: Workspace, as_of: datetime) -> list[dict[str, Any]]:
    return [part for week in ws.weeks_done("watch") if week < as_of and (part := ws.read_part(week, "watch"))]


def _held(ws: Workspace, as_of: datetime) -> bool:
    part = ws.read_part(as_of, "snapshot")
    return part is not None and part["contract"]["state"] != "accepted"


def _decision(as_of: datetime, action: Action, *, actor: str, outcome: str, snapshot_id: str) -> Decision:
    kind = "human_approval" if action.name == "ask_a_person" else {"retrain": "retrain_request"}.get(outcome, "watch")
    return Decision(
        at=as_of.isoformat(),
        actor=actor,
        kind=kind,  # type: ignore[arg-type]
        subject=MODEL,
        action=outcome,
        reason=f"{action.cause}: {action.reason}",
        evidence=action.evidence,
        snapshot_id=snapshot_id,
    )


def _settled(ws: Workspace, as_of: datetime, decision: Decision, *, answer: dict[str, str] | None) -> dict[str, Any]:
    ws.decisions.record(decision)
    return {
        "as_of": f"{as_of:%Y-%m-%d}",
        "outcome": decision.action,
        "answer": answer,
        "decisions": [decision.decision_id],
    }


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
