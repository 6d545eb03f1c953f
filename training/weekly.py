"""The steps of a week: each reads the workspace, does its one thing once, and leaves a part for the record.

`as_of` is the Monday on which a step runs. The candidate learns from label weeks that end before the judged week, is
judged on the judged week (the seven days before `as_of`) with features of its Monday, and the very ranker that was
judged goes live, with features refreshed to `as_of`. An old ranker with fresh features loses 1 to 3 %; a model that
nobody judged can lose anything.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from feature_repo.definitions import service_version
from feature_repo.feast_store import FeastStore
from ingest.open import open_source
from ingest.source import Source
from ingest.staging import Reading
from training.gates import GatePolicy, judge
from training.judging import (
    BASELINES,
    CANDIDATE,
    CHAMPION,
    FIRST,
    PREVIOUS,
    JudgedWeek,
    judge_week,
    operating_evidence,
    quality_evidence,
)
from training.lists import UNKNOWN, write_lists
from training.metrics import paired_bootstrap
from training.mlflow_registry import MODEL, MlflowRegistry
from training.plots import quality_plot
from training.promotion import Aliases, aliases_after
from training.recommender.baselines import BASELINES as ALL_BASELINES
from training.recommender.evaluate import MEASURES
from training.recommender.examples import Examples, load_examples, save_examples
from training.recommender.index import ITEM_FEATURES, ItemIndex, load_index, save_index
from training.recommender.pair_features import FEATURES
from training.recommender.rank import Scorer, list_items, recommend
from training.recommender.ranker import RankerParams, fingerprint, fit_ranker, score_pairs
from training.recommender.states import STATE_COLUMNS
from training.vocabulary import Decision, Evidence, Verdict
from training.week_data import WEEK, WeekData, label_weeks
from training.workspace import Workspace, write_whole

#: Serves until a model has beaten it: the first promotion must be earned, and the lists must be made all the same.
STAND_IN = "repeat_x_popularity"


def ingest_week(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Take in all that arrived up to this Monday, each delivery once and in the order of arrival."""

    def work() -> dict[str, Any]:
        source, done = open_settings_source(ws), [week for week in ws.weeks_done("ingest") if week < as_of]
        reports = [
            ws.lake.ingest(delivery, source.contract)
            for arrived in source.arrivals()
            if arrived <= as_of and (not done or arrived > done[-1])
            for delivery in source.deliveries(arrived)
        ]
        history = [report for report in reports if report.arrived < as_of]
        return {
            "as_of": f"{as_of:%Y-%m-%d}",
            "deliveries": [report.to_dict() for report in reports if report.arrived == as_of],
            "history": {"batches": len(history), "rows": sum(report.rows_in for report in history)},
        }

    return ws.once(as_of, "ingest", work)


def take_snapshot(ws: Workspace, as_of: datetime, *, trigger: str) -> dict[str, Any]:
    """Fix what is known as of this Monday: the files, their hashes, and whether training may use them."""

    def work() -> dict[str, Any]:
        snapshot = ws.lake.snapshot(as_of)
        return {
            "as_of": f"{as_of:%Y-%m-%d}",
            "trigger": trigger,
            "snapshot": {"id": snapshot.id, "files": len(snapshot.files), "rows": snapshot.rows},
            "contract": {"state": snapshot.contract_state, "reason": snapshot.hold_reason},
        }

    return ws.once(as_of, "snapshot", work)


def build_features(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Write this Monday's feature rows and item index, fill in label weeks that were never built, materialise online."""

    def work() -> dict[str, Any]:
        data = week_data(ws)
        live = MlflowRegistry(ws.settings).aliases()
        data.store.apply(read_by_live_models=STATE_COLUMNS + ITEM_FEATURES if live.champion else ())
        moment = data.feature_moment(as_of)
        if moment == as_of:
            write_whole(ws.index_path(as_of), partial(save_index, data.build_index(as_of)))
        missing = [w for w in label_weeks(as_of, ws.settings.label_weeks) if not ws.examples_path(w).exists()]
        built = [week for week in missing if _build_examples(ws, data, week, as_of)]
        data.store.materialise(moment)
        return {
            "as_of": f"{as_of:%Y-%m-%d}",
            "features_as_of": f"{moment:%Y-%m-%d}",
            "built": [f"{week:%Y-%m-%d}" for week in built],
            "service": service_version(),
        }

    return ws.once(as_of, "features", work)


def fit_candidate(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Fit a ranker on the label weeks and register it, unless training is held or there is nothing to learn from."""

    def work() -> dict[str, Any]:
        reference: dict[str, Any] = {"as_of": f"{as_of:%Y-%m-%d}", "candidate": None, "held": None}
        contract = _part(ws, as_of, "snapshot")["contract"]
        if contract["state"] != "accepted":
            return {**reference, "held": contract["reason"]}
        paths = [ws.examples_path(week) for week in label_weeks(as_of, ws.settings.label_weeks)]
        examples = [load_examples(path) for path in paths if path.exists()]
        if not any(e.bought.any() for e in examples):
            return {**reference, "held": "no label week holds a purchase that a candidate list could have shown"}
        return {**reference, "candidate": _fit_and_register(ws, as_of, examples)}

    return ws.once(as_of, "fit", work)


def evaluate_candidate(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Compare the candidate with the champion, older versions and simple rules on the judged week; log what was found."""

    def work() -> dict[str, Any]:
        reference: dict[str, Any] = {"as_of": f"{as_of:%Y-%m-%d}", "evidence": {}, "metrics": None}
        candidate = _part(ws, as_of, "fit")["candidate"]
        registry = MlflowRegistry(ws.settings)
        versions = compared_versions(ws, registry, candidate["version"] if candidate else None)
        judged = judge_on_last_week(ws, as_of, registry, versions)
        metrics = describe_week(judged, seed=ws.settings.seed) if judged else None
        if candidate is None:
            return {**reference, "metrics": metrics}
        evidence = _evidence(ws, registry, as_of, candidate["version"], judged)
        figures = {name: float(e.value) for name, e in evidence.items() if isinstance(e.value, (int, float))}
        plots = {"quality.png": quality_plot(metrics)} if metrics else {}
        registry.log_evaluation(
            candidate["run_id"], figures, {"evidence.json": {n: e.to_dict() for n, e in evidence.items()}}, plots
        )
        return {**reference, "evidence": {name: e.to_dict() for name, e in evidence.items()}, "metrics": metrics}

    return ws.once(as_of, "evaluate", work)


def judge_candidate(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Hold the evidence against the gates."""

    def work() -> dict[str, Any]:
        champion = MlflowRegistry(ws.settings).aliases().champion
        reference = {"as_of": f"{as_of:%Y-%m-%d}", "champion": champion}
        if _part(ws, as_of, "fit")["candidate"] is None:
            return {**reference, "verdict": None}
        evidence = {name: Evidence.from_dict(e) for name, e in _part(ws, as_of, "evaluate")["evidence"].items()}
        return {**reference, "verdict": judge(evidence, GatePolicy(), first_model=champion is None).to_dict()}

    return ws.once(as_of, "judge", work)


def promote_or_refuse(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Record the decision, then let the aliases follow from the record."""

    def work() -> dict[str, Any]:
        decision = ws.decisions.record(_decision(ws, as_of))
        live = carry_out(ws)
        return {
            "as_of": f"{as_of:%Y-%m-%d}",
            "decisions": [decision.decision_id],
            "champion": live.champion,
            "previous": live.previous,
        }

    return ws.once(as_of, "promote", work)


def score_week(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Make the coming week's two lists for every known customer and for the unknown one, with whatever is live."""

    def work() -> dict[str, Any]:
        data, registry = week_data(ws), MlflowRegistry(ws.settings)
        champion, moment = registry.aliases().champion, data.feature_moment(as_of)
        index = load_or_build_index(ws, data, moment)
        states = data.states([*data.known_users(moment), UNKNOWN], index)
        if champion:
            lists, version = recommend(scorer(registry, champion), states, index), champion
        else:
            lists = list_items(ALL_BASELINES[STAND_IN](data.purchases(as_of).to_pandas(), index), states, index)
            version = f"baseline:{STAND_IN}"
        rows = write_lists(lists, version, ws.recommendations_path(as_of))
        return {"as_of": f"{as_of:%Y-%m-%d}", "version": version, "users": states.size - 1, "rows": rows}

    return ws.once(as_of, "score", work)


def open_settings_source(ws: Workspace) -> Source:
    """The source that the workspace's settings name."""
    s = ws.settings
    return open_source(
        s.source,
        s.data,
        s.seed,
        start=s.start,
        scale=s.scale,
        staging=s.home / "staging",
        reading=Reading(encoding=s.encoding, date_order=s.date_order),
        purchase_events=s.purchase_events,
    )


def week_data(ws: Workspace) -> WeekData:
    """The workspace's lake and feature store."""
    return WeekData(ws.lake, FeastStore(ws.features, ws.settings.feast_online))


def carry_out(ws: Workspace) -> Aliases:
    """Move the aliases to where the recorded decisions put them; repairs a run that died between record and move."""
    registry = MlflowRegistry(ws.settings)
    live = aliases_after(ws.decisions.read())
    if live.champion:
        registry.set_aliases(live)
    return live


def scorer(registry: MlflowRegistry, version: str) -> Scorer:
    """How a registered version scores pairs."""
    return partial(score_pairs, registry.load(version))


def compared_versions(ws: Workspace, registry: MlflowRegistry, candidate: str | None = None) -> dict[str, str]:
    """The versions worth comparing on a week, by role: candidate, champion, previous, and the first ever promoted."""
    live = registry.aliases()
    promoted = [d.model_version for d in ws.decisions.read() if d.kind == "promotion"]
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
    data, week = week_data(ws), as_of - WEEK
    known_at = data.labels_known(week, as_of)
    if known_at is None:
        return None
    index = load_or_build_index(ws, data, data.feature_moment(week))
    named = {**versions, **{rule: rule for rule in BASELINES}}
    paths = {role: ws.figures_path(week, name) for role, name in named.items()}
    kept = {role: pd.read_parquet(path) for role, path in paths.items() if path.exists() and role != CANDIDATE}
    scorers = {role: scorer(registry, version) for role, version in versions.items() if role not in kept}
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


def _part(ws: Workspace, as_of: datetime, step: str) -> dict[str, Any]:
    part = ws.read_part(as_of, step)
    if part is None:
        raise LookupError(f"Step {step!r} has not run for {as_of:%Y-%m-%d}; run the week from its start.")
    return part


def _build_examples(ws: Workspace, data: WeekData, week: datetime, as_of: datetime) -> bool:
    known_at = data.labels_known(week, as_of)
    path = ws.index_path(week)
    index = load_index(path) if path.exists() else None
    examples = data.examples(week, known_at=known_at, seed=ws.settings.seed, index=index) if known_at else None
    if examples is None:
        return False
    write_whole(ws.examples_path(week), partial(save_examples, examples))
    return True


def _fit_and_register(ws: Workspace, as_of: datetime, examples: list[Examples]) -> dict[str, Any]:
    registry, params = MlflowRegistry(ws.settings), RankerParams()
    record = {
        "as_of": f"{as_of:%Y-%m-%d}",
        "snapshot_id": _part(ws, as_of, "snapshot")["snapshot"]["id"],
        "feature_service": service_version(),
        "label_weeks": json.dumps([f"{e.week:%Y-%m-%d}" for e in examples]),
        "params": json.dumps({**asdict(params), "seed": ws.settings.seed}),
    }
    key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
    found = registry.find(key)
    if found is None:
        ranker = fit_ranker(examples, params, seed=ws.settings.seed)
        tags = {**record, "key": key, "fingerprint": fingerprint(ranker), "git_commit": git_commit()}
        rows = sum(len(e.bought) for e in examples)
        metrics = {"training_rows": float(rows), "training_positives": float(sum(e.bought.sum() for e in examples))}
        found = registry.register(
            ranker,
            feature_names=FEATURES,
            params=asdict(params),
            metrics=metrics,
            tags=tags,
            run_name=f"week {record['as_of']}",
        )
    return {
        "version": found.version,
        "run_id": found.run_id,
        "fingerprint": found.tags["fingerprint"],
        "label_weeks": len(examples),
    }


def _evidence(
    ws: Workspace, registry: MlflowRegistry, as_of: datetime, version: str, judged: JudgedWeek | None
) -> dict[str, Evidence]:
    snapshot = _part(ws, as_of, "snapshot")
    found = {
        "contract_state": Evidence("contract_state", snapshot["contract"]["state"], f"lake at {as_of:%Y-%m-%d}"),
        # From the newest arrival in the snapshot to now: a skipped delivery makes it older than a week.
        "snapshot_age_days": Evidence(
            "snapshot_age_days", _snapshot_age_days(ws, as_of), f"snapshot {snapshot['snapshot']['id'][:12]}"
        ),
    }
    if judged is None:
        return found
    size = (registry.size_bytes(version) + ws.index_path(as_of).stat().st_size) / 1e6
    store = FeastStore(ws.features, ws.settings.feast_online)
    return {
        **found,
        **quality_evidence(judged, seed=ws.settings.seed),
        **operating_evidence(scorer(registry, version), judged, store, as_of=as_of, artefact_mb=size),
    }


def _snapshot_age_days(ws: Workspace, as_of: datetime) -> float | None:
    arrivals = [r.arrived for r in ws.lake.reports(as_of) if r.status == "accepted"]
    return (as_of - max(arrivals)).total_seconds() / 86_400 if arrivals else None


def _decision(ws: Workspace, as_of: datetime) -> Decision:
    fit, verdict_part, snapshot = (_part(ws, as_of, step) for step in ("fit", "judge", "snapshot"))
    common: dict[str, Any] = {
        "at": as_of.isoformat(),
        "actor": "policy",
        "snapshot_id": snapshot["snapshot"]["id"],
        "previous_version": verdict_part["champion"],
    }
    if fit["candidate"] is None:
        return Decision(**common, kind="training_held", subject=MODEL, action="hold", reason=fit["held"])
    verdict, version = Verdict.from_dict(verdict_part["verdict"]), fit["candidate"]["version"]
    common |= {
        "subject": f"{MODEL} version {version}",
        "run_id": fit["candidate"]["run_id"],
        "evidence": _all_evidence(verdict),
    }
    if verdict.outcome == "promote":
        return Decision(**common, kind="promotion", action="promote", reason="every gate passed", model_version=version)
    reasons = "; ".join(f"{gate.gate}: {gate.reason}" for gate in verdict.refusals)
    return Decision(**common, kind="refusal", action="refuse", reason=reasons, model_version=version)


def _all_evidence(verdict: Verdict) -> tuple[Evidence, ...]:
    return tuple({e.name: e for gate in verdict.gates for e in gate.evidence}.values())


def git_commit() -> str:
    """The commit of the code that runs, with a mark when files were changed; 'unknown' outside a checkout."""
    folder = Path(__file__).parent
    commands = (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain"])
    try:
        commit, changes = (
            subprocess.run(c, cwd=folder, capture_output=True, text=True, check=True).stdout.strip() for c in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changes else commit
