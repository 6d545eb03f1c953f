"""Gather what the gates ask about a candidate: quality, running costs, and the state of its data."""

from __future__ import annotations

from datetime import datetime

from feature_repo.feast_store import FeastStore
from training.judging import JudgedWeek, operating_evidence, quality_evidence
from training.mlflow_registry import MlflowRegistry
from training.vocabulary import Evidence
from training.workspace import Workspace


def candidate_evidence(
    ws: Workspace, registry: MlflowRegistry, as_of: datetime, version: str, judged: JudgedWeek | None
) -> dict[str, Evidence]:
    """Everything that could be found out, by name; what is missing is for the gates to refuse."""
    snapshot = ws.require_part(as_of, "snapshot")
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
        **operating_evidence(registry.scorer(version), judged, store, as_of=as_of, artefact_mb=size),
    }


def _snapshot_age_days(ws: Workspace, as_of: datetime) -> float | None:
    arrivals = [r.arrived for r in ws.lake.reports(as_of) if r.status == "accepted"]
    return (as_of - max(arrivals)).total_seconds() / 86_400 if arrivals else None
