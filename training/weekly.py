"""The steps of a week: each reads the workspace, does its one thing once, and leaves a part for the record.

`as_of` is the Monday on which a step runs. The candidate learns from label weeks that end before the judged week, is
judged on the judged week (the seven days before `as_of`) with features of its Monday, and the very ranker that was
judged goes live, with features refreshed to `as_of`. An old ranker with fresh features loses 1 to 3 %; a model that
nobody judged can lose anything.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from feature_repo.definitions import service_version
from ingest.lake import what_is_new
from ingest.open import open_source
from ingest.source import Source
from ingest.staging import Reading
from ingest.whole_files import write_whole
from training.candidate import fit_and_register
from training.candidate_decision import candidate_decision
from training.candidate_evidence import candidate_evidence
from training.carry_out import carry_out
from training.comparison import compared_versions, describe_week, judge_on_last_week, load_or_build_index
from training.gates import GatePolicy, judge
from training.judging import CHAMPION
from training.lists import UNKNOWN, write_lists
from training.mlflow_registry import MlflowRegistry
from training.plots import quality_plot
from training.promotion import MODEL
from training.recommender.artefact import RANKER
from training.recommender.baselines import BASELINES as ALL_BASELINES
from training.recommender.examples import load_examples, save_examples
from training.recommender.index import load_index, save_index
from training.recommender.rank import list_items, recommend
from training.vocabulary import Evidence
from training.week_data import WeekData, label_weeks
from training.workspace import Workspace

#: Serves until a model has beaten it: the first promotion must be earned, and the lists must be made all the same.
STAND_IN = "repeat_x_popularity"


def ingest_week(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Take in all that arrived up to this Monday, each delivery once and in the order of arrival.

    What a log gained since in weeks that were read before arrives this Monday, too: it was not known earlier.
    """

    def work() -> dict[str, Any]:
        source, done = open_settings_source(ws), [week for week in ws.weeks_done("ingest") if week < as_of]
        read_until = done[-1] if done else datetime.min
        grown = bool(done) and ws.require_part(done[-1], "ingest")["source"] != source.version
        before = ws.lake.reports(as_of)
        due = [arrived for arrived in source.arrivals() if arrived <= as_of and (grown or arrived > read_until)]
        for delivery in (delivery for arrived in due for delivery in source.deliveries(arrived)):
            fresh = delivery if delivery.arrived > read_until else what_is_new(before, delivery, as_of)
            if fresh:
                ws.lake.ingest(fresh, source.contract)
        # From the lake, not from this run: one that was killed half-way has left some of them already.
        reports = [report for report in ws.lake.reports(as_of) if report.arrived > read_until]
        history = [report for report in reports if report.arrived < as_of]
        return {
            "as_of": f"{as_of:%Y-%m-%d}",
            "source": source.version,
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
        data = WeekData.of(ws)
        data.store.apply(read_by_live_models=_read_by_live_models(MlflowRegistry(ws.settings, RANKER)))
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
        contract = ws.require_part(as_of, "snapshot")["contract"]
        if contract["state"] != "accepted":
            return {**reference, "held": contract["reason"]}
        paths = [ws.examples_path(week) for week in label_weeks(as_of, ws.settings.label_weeks)]
        examples = [load_examples(path) for path in paths if path.exists()]
        if not any(e.bought.any() for e in examples):
            return {**reference, "held": "no label week holds a purchase that a candidate list could have shown"}
        return {**reference, "candidate": fit_and_register(ws, as_of, examples)}

    return ws.once(as_of, "fit", work)


def evaluate_candidate(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Compare the candidate with the champion, older versions and simple rules on the judged week; log what was found."""

    def work() -> dict[str, Any]:
        candidate = ws.require_part(as_of, "fit")["candidate"]
        registry = MlflowRegistry(ws.settings, RANKER)
        versions = compared_versions(ws, registry, candidate["version"] if candidate else None)
        reference: dict[str, Any] = {
            "as_of": f"{as_of:%Y-%m-%d}",
            "champion": versions.get(CHAMPION),
            "evidence": {},
            "metrics": None,
        }
        judged = judge_on_last_week(ws, as_of, registry, versions)
        metrics = describe_week(judged, seed=ws.settings.seed) if judged else None
        if candidate is None:
            return {**reference, "metrics": metrics}
        evidence = candidate_evidence(ws, registry, as_of, candidate["version"], judged)
        figures = {name: float(e.value) for name, e in evidence.items() if isinstance(e.value, (int, float))}
        plots = {"quality.png": quality_plot(metrics)} if metrics else {}
        registry.log_evaluation(
            candidate["run_id"], figures, {"evidence.json": {n: e.to_dict() for n, e in evidence.items()}}, plots
        )
        return {**reference, "evidence": {name: e.to_dict() for name, e in evidence.items()}, "metrics": metrics}

    return ws.once(as_of, "evaluate", work)


def judge_candidate(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Hold the evidence against the gates; the champion is the one that the evidence is about, whatever has happened since."""

    def work() -> dict[str, Any]:
        evaluated = ws.require_part(as_of, "evaluate")
        champion = evaluated["champion"]
        reference = {"as_of": f"{as_of:%Y-%m-%d}", "champion": champion}
        if ws.require_part(as_of, "fit")["candidate"] is None:
            return {**reference, "verdict": None}
        evidence = {name: Evidence.from_dict(e) for name, e in evaluated["evidence"].items()}
        return {**reference, "verdict": judge(evidence, GatePolicy(), first_model=champion is None).to_dict()}

    return ws.once(as_of, "judge", work)


def promote_or_refuse(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """Record the decision, then let the aliases follow from the record."""

    def work() -> dict[str, Any]:
        decision = ws.decisions.record(candidate_decision(ws, as_of))
        live = carry_out(ws)[MODEL]
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
        data, registry = WeekData.of(ws), MlflowRegistry(ws.settings, RANKER)
        champion, moment = registry.aliases().champion, data.feature_moment(as_of)
        index = load_or_build_index(ws, data, moment)
        states = data.states([*data.known_users(moment), UNKNOWN], index)
        if champion:
            lists, version = recommend(registry.scorer(champion), states, index), champion
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


def _read_by_live_models(registry: MlflowRegistry) -> set[str]:
    """What champion and previous were made to be served with."""
    live = registry.aliases()
    versions = [registry.version(version) for version in (live.champion, live.previous) if version]
    return {feature for version in versions for feature in version.tags["reads"].split()}


def _build_examples(ws: Workspace, data: WeekData, week: datetime, as_of: datetime) -> bool:
    known_at = data.labels_known(week, as_of)
    path = ws.index_path(week)
    index = load_index(path) if path.exists() else None
    examples = data.examples(week, known_at=known_at, seed=ws.settings.seed, index=index) if known_at else None
    if examples is None:
        return False
    write_whole(ws.examples_path(week), partial(save_examples, examples))
    return True
