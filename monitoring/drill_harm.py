"""What the recommender's drills harm between two Mondays: the store that serving reads, or what is live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.feast_store import FeastStore
from training.candidate import READS
from training.carry_out import record_and_carry_out
from training.mlflow_registry import MlflowRegistry
from training.promotion import MODEL, aliases_after
from training.recommender.artefact import RANKER
from training.recommender.examples import Examples, load_examples
from training.recommender.ranker import Ranker, RankerParams, fit_ranker
from training.vocabulary import Decision
from training.week_data import WEEK, WeekData, label_weeks
from training.workspace import Workspace

Harm = Callable[[Workspace, float, datetime], None]
"""What is done to a workspace, how strongly (a share of the worst, up to 1), and after the features of which Monday."""

#: What the skew's stream keeps: habits are older than that.
REMEMBERED = timedelta(days=28)


def skew_features(ws: Workspace, strength: float, as_of: datetime) -> None:
    """A streaming job overwrites online rows of a share of the customers; it never read what is older than its stream keeps."""
    data = WeekData.of(ws)
    events = _events_of_some(data.interactions(as_of), strength, seed=ws.settings.seed)
    remembered = events.filter(
        pc.greater_equal(events["event_time"], pa.scalar(as_of - REMEMBERED, pa.timestamp("us")))
    )
    _overwrite_online(ws, remembered, as_of)


def let_features_age(ws: Workspace, strength: float, as_of: datetime) -> None:
    """A share of the customers keeps the online rows of the Monday before: the refresh did not get to them."""
    before = as_of - WEEK
    _overwrite_online(
        ws, _events_of_some(WeekData.of(ws).interactions(before), strength, seed=ws.settings.seed), before
    )


def slip_through(ws: Workspace, strength: float, as_of: datetime) -> None:
    """A version that learned from labels of which a share says the opposite is promoted past the gates."""
    registry = MlflowRegistry(ws.settings, RANKER)
    paths = [ws.examples_path(week) for week in label_weeks(as_of, ws.settings.label_weeks)]
    examples = [_mislabelled(load_examples(path), strength, seed=ws.settings.seed) for path in paths if path.exists()]
    bad = fit_ranker(examples, RankerParams(), seed=ws.settings.seed)
    version = _register(registry, bad, examples[-1], as_of)
    decision = Decision(
        at=as_of.isoformat(),
        actor="person:drill",
        kind="promotion",
        subject=f"{MODEL} version {version}",
        action="promote",
        reason="put live by hand, and judged by no gate",
        model_version=version,
        previous_version=aliases_after(ws.decisions.read()).champion,
    )
    record_and_carry_out(ws, decision)


def no_harm(_ws: Workspace, _strength: float, _as_of: datetime) -> None:
    """Leave the platform as it is: what happens, if anything, happens in the shop."""


HARMS: Mapping[str, Harm] = {
    "skewed_features": skew_features,
    "stale_features": let_features_age,
    "bad_release": slip_through,
}


def _events_of_some(events: pa.Table, share: float, *, seed: int) -> pa.Table:
    """All events of a share of the customers; the same ones for any share that is smaller."""
    users = np.sort(events["user_id"].unique().to_numpy(zero_copy_only=False))
    hit = np.random.default_rng(seed).permutation(users)[: max(1, round(share * users.size))]
    return events.filter(pc.is_in(events["user_id"], pa.array(hit)))


def _overwrite_online(ws: Workspace, events: pa.Table, as_of: datetime) -> None:
    """Let another job compute rows as of a moment and write them into the store that serving reads; ours does not know of it."""
    with TemporaryDirectory(prefix="mlops-drill-") as folder:
        ours = ws.settings.feast_online or {"type": "sqlite", "path": str(ws.features / "online.db")}
        rival = FeastStore(Path(folder), ours)
        rival.apply()
        rival.write_rows(events, as_of)
        rival.materialise(as_of)


def _mislabelled(examples: Examples, share: float, *, seed: int) -> Examples:
    wrong = np.random.default_rng(seed).random(examples.bought.size) < share
    return replace(examples, bought=examples.bought ^ wrong)


def _register(registry: MlflowRegistry, ranker: Ranker, examples: Examples, as_of: datetime) -> str:
    tags = {"key": f"drill {as_of:%Y-%m-%d}", "as_of": f"{as_of:%Y-%m-%d}", "reads": " ".join(READS)}
    golden = RANKER.golden(ranker, examples.features)
    return registry.register(ranker, golden=golden, params={}, metrics={}, tags=tags, run_name="drill").version
