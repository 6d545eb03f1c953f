"""Fit a week's candidate and register it with the record that it can be rebuilt from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from feature_repo.definitions import service_version
from training.mlflow_registry import MlflowRegistry
from training.promotion import aliases_after
from training.recommender.artefact import RANKER
from training.recommender.examples import Examples
from training.recommender.index import ITEM_FEATURES
from training.recommender.ranker import RankerParams, fingerprint, fit_ranker
from training.recommender.states import STATE_COLUMNS
from training.workspace import Workspace

#: The features that a ranker of today is served with, kept with each version: the code may have moved on while it is live.
READS = (*STATE_COLUMNS, *ITEM_FEATURES, "item_text", "user_country")


def fit_and_register(ws: Workspace, as_of: datetime, examples: Sequence[Examples]) -> dict[str, Any]:
    """Fit on the examples of the label weeks; the same inputs find the version that was made from them before.

    It is the registry's challenger until it is promoted or refused.
    """
    registry, params = MlflowRegistry(ws.settings, RANKER), RankerParams()
    record = {
        "as_of": f"{as_of:%Y-%m-%d}",
        "snapshot_id": ws.require_part(as_of, "snapshot")["snapshot"]["id"],
        "feature_service": service_version(),
        "label_weeks": json.dumps([f"{e.week:%Y-%m-%d}" for e in examples]),
        "params": json.dumps({**asdict(params), "seed": ws.settings.seed}),
    }
    key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
    found = registry.find(key)
    if found is None:
        ranker = fit_ranker(examples, params, seed=ws.settings.seed)
        tags = {
            **record,
            "key": key,
            "fingerprint": fingerprint(ranker),
            "git_commit": git_commit(),
            "reads": " ".join(READS),
        }
        rows = sum(len(e.bought) for e in examples)
        metrics = {"training_rows": float(rows), "training_positives": float(sum(e.bought.sum() for e in examples))}
        found = registry.register(
            ranker,
            golden=RANKER.golden(ranker, examples[-1].features),
            params=asdict(params),
            metrics=metrics,
            tags=tags,
            run_name=f"week {record['as_of']}",
        )
    if aliases_after(ws.decisions.read()).challenger is None:  # else the name belongs to the canary under way
        registry.challenge(found.version)
    return {
        "version": found.version,
        "run_id": found.run_id,
        "fingerprint": found.tags["fingerprint"],
        "label_weeks": len(examples),
    }


def git_commit() -> str:
    """The commit of the code that runs, with a mark when files were changed; outside a checkout what GIT_COMMIT says, as in an image."""
    folder = Path(__file__).parent
    commands = (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain"])
    try:
        commit, changes = (
            subprocess.run(c, cwd=folder, capture_output=True, text=True, check=True).stdout.strip() for c in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GIT_COMMIT") or "unknown"
    return f"{commit}-dirty" if changes else commit
