"""Rehearse an incident of the recommender: live it week by week with the platform's own steps, and see what its watch does."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, time
from functools import partial
from pathlib import Path

from feature_repo.feast_store import FeastStore
from ingest.shop_incidents import Incident, write_incidents
from monitoring.drill_harm import HARMS, no_harm
from monitoring.drill_service import serve_week
from monitoring.policy import DEFAULT_ANSWER
from monitoring.rehearsals import NOTHING, QUIET, Rehearsal, rehearsal
from monitoring.watch import settle_week, watch_week
from training import weekly
from training.rollback import roll_back_as_requested
from training.settings import Settings, store_settings
from training.vocabulary import ActionName, DecisionKind
from training.week_data import WEEK
from training.workspace import Workspace

#: Mondays before the one whose watch must name it: after four of them the usual quality is known, and two versions were live.
CLEAN_WEEKS = 5
FOLLOWED_WEEKS = 2
#: One week of labels is enough for a version that beats the simple rules, and is fitted in two seconds.
LABEL_WEEKS = 1
NOBODY_ANSWERED = {"chosen_options": [DEFAULT_ANSWER], "responded_by_user": None}

Step = Callable[[datetime], None]


def _nothing(_as_of: datetime) -> None:
    """Do nothing on a Monday."""


@dataclass(frozen=True)
class LivedWeek:
    """A Monday of a drill, as the platform recorded it."""

    as_of: datetime
    injected: bool
    """Whether the incident acted in the week that this Monday's watch looks back on."""

    realised: float | None
    """NDCG@10 of what customers were shown in that week."""

    cause: str
    action: ActionName
    reason: str
    outcome: str
    """What was done about it; where a person was asked, nobody answered."""

    questioned: str | None
    """The version that was live when the watch looked."""

    champion: str | None
    """The version that the registry's alias names once the week's steps are done."""

    candidate: DecisionKind
    """What was decided about the week's candidate."""

    @property
    def carried_out(self) -> bool:
        """A rollback that left its version live was none."""
        return self.action != "roll_back" or self.champion != self.questioned


@dataclass(frozen=True)
class Drilled:
    """What the platform made of an incident, Monday by Monday."""

    name: str
    rehearsed: Rehearsal
    strength: float
    seed: int
    weeks: tuple[LivedWeek, ...]

    @property
    def seen(self) -> LivedWeek:
        """The Monday whose watch must name it."""
        return self.weeks[CLEAN_WEEKS]

    def is_right(self, week: LivedWeek) -> bool:
        """Quiet before it, the right cause and its action on the first Monday after it, and what may follow on the next."""
        if week.as_of < self.seen.as_of:
            return week.action in QUIET
        if week.as_of > self.seen.as_of:
            return week.action in self.rehearsed.after and week.carried_out
        named = self.rehearsed.named_by(week.cause, week.action)
        return named and week.candidate in self.rehearsed.candidate and week.carried_out

    @property
    def right(self) -> bool:
        return all(map(self.is_right, self.weeks))


def drill(name: str, strength: float, seed: int, place: Path, *, on_week: Step = _nothing) -> Drilled:
    """Live an incident that goes on from the seed's clean weeks, which are kept in `place` for other drills.

    Raises SettingsError for an incident or a strength that is not rehearsed, ReplayError when the seed's shop has no champion.
    """
    return _drilled(name, rehearsal(name, strength), strength, seed, place, on_week=on_week)


def clean_run(seed: int, place: Path) -> Drilled:
    """The same weeks when nothing happens."""
    return _drilled("none", NOTHING, 0.0, seed, place, on_week=_nothing)


def shop_workspace(home: Path, seed: int, incidents: Sequence[Incident] = ()) -> Workspace:
    """A workspace of a shop in which nothing but these incidents goes wrong.

    All that it writes to lies in `home`, whatever the environment says: a drill must not harm the store of a live platform.
    """
    script = home.resolve() / "incidents.json"
    write_incidents(script, incidents)
    settings = Settings(home=home.resolve(), source="shop", data=script, seed=seed, label_weeks=LABEL_WEEKS)
    store_settings(settings)
    return Workspace(settings)


def _drilled(name: str, rehearsed: Rehearsal, strength: float, seed: int, place: Path, *, on_week: Step) -> Drilled:
    clean = shop_workspace(place / f"clean-{seed}", seed)
    mondays = [datetime.combine(clean.settings.start, time()) + n * WEEK for n in range(CLEAN_WEEKS + FOLLOWED_WEEKS)]
    for monday in mondays[:CLEAN_WEEKS]:
        on_week(monday)
        _live(clean, monday)
    ws = _branched(clean, place / f"{name}-{strength:g}-{seed}", _in_the_shop(rehearsed, strength))
    harm: Step = partial(HARMS.get(name, no_harm), ws, strength)
    harm(mondays[CLEAN_WEEKS - 1])
    for number, monday in enumerate(mondays[CLEAN_WEEKS:], start=1):
        on_week(monday)
        serve_week(ws, monday - WEEK)
        _live(ws, monday, harm if number < rehearsed.weeks else _nothing)
    harmed = mondays[CLEAN_WEEKS : CLEAN_WEEKS + rehearsed.weeks] if rehearsed.causes else []
    weeks = tuple(_lived(ws, monday, injected=monday in harmed) for monday in mondays)
    return Drilled(name, rehearsed, strength, seed, weeks)


def _in_the_shop(rehearsed: Rehearsal, strength: float) -> tuple[Incident, ...]:
    kind = rehearsed.happens
    return (Incident(kind, first_week=CLEAN_WEEKS - 1, strength=strength),) if kind else ()


def _branched(clean: Workspace, home: Path, incidents: Sequence[Incident]) -> Workspace:
    """A workspace that goes on from a copy of the clean weeks; their models stay where they are and are only read."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(clean.home, home, ignore=shutil.ignore_patterns("settings.json", "artefacts"))
    with closing(sqlite3.connect(home / "mlflow.db")) as registry, registry:
        # What the drill registers goes to the copy.
        registry.execute("UPDATE experiments SET artifact_location = ?", [(home / "artefacts").absolute().as_uri()])
    ws = shop_workspace(home, clean.settings.seed, incidents)
    FeastStore(ws.features, ws.settings.feast_online).apply()  # Feast's registry names the folders it was applied in
    return ws


def _live(ws: Workspace, as_of: datetime, after_features: Step = _nothing) -> None:
    """A Monday by the steps of the DAGs, in their order."""
    weekly.ingest_week(ws, as_of)
    watch_week(ws, as_of)
    settled = settle_week(ws, as_of, NOBODY_ANSWERED)
    if settled["outcome"] == "roll_back":
        roll_back_as_requested(ws, as_of)
    weekly.take_snapshot(ws, as_of, trigger="request" if settled["outcome"] == "retrain" else "clock")
    weekly.build_features(ws, as_of)
    after_features(as_of)
    weekly.fit_candidate(ws, as_of)
    weekly.evaluate_candidate(ws, as_of)
    weekly.judge_candidate(ws, as_of)
    weekly.promote_or_refuse(ws, as_of)
    weekly.score_week(ws, as_of)


def _lived(ws: Workspace, as_of: datetime, *, injected: bool) -> LivedWeek:
    watched, promoted = ws.require_part(as_of, "watch"), ws.require_part(as_of, "promote")
    [decided] = [d for d in ws.decisions.read() if d.decision_id in promoted["decisions"]]
    realised = watched["realised"] and watched["realised"]["ndcg_at_10_all"]
    return LivedWeek(
        as_of=as_of,
        injected=injected,
        realised=realised["value"] if realised else None,
        cause=watched["action"]["cause"],
        action=watched["action"]["name"],
        reason=watched["action"]["reason"],
        outcome=ws.require_part(as_of, "settle")["outcome"],
        questioned=watched["champion"],
        champion=promoted["champion"],
        candidate=decided.kind,
    )
