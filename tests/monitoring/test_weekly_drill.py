"""The recommender's drills: each incident is really injected, named by the platform's own watch, and really acted upon."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from monitoring.rehearsals import NOTHING, REHEARSALS, Rehearsal
from monitoring.weekly_drill import CLEAN_WEEKS, Drilled, LivedWeek, clean_run, drill, shop_workspace
from training.mlflow_registry import MlflowRegistry
from training.recommender.artefact import RANKER
from training.settings import build_settings
from training.vocabulary import Decision
from training.week_data import WEEK
from training.workspace import Workspace

SEED = 100
QUIET_WEEK = LivedWeek(
    as_of=datetime(2011, 1, 24),
    injected=False,
    realised=0.5,
    cause="nothing to do",
    action="hold",
    reason="data, quality and inputs are as usual",
    outcome="hold",
    questioned="1",
    champion="2",
    candidate="promotion",
)


def told(rehearsed: Rehearsal, *, before: Any = None, seen: Any = None, after: Any = None) -> Drilled:
    """A drill in which each Monday is quiet but for what is said of it."""
    weeks = [replace(QUIET_WEEK, as_of=QUIET_WEEK.as_of + n * WEEK) for n in range(CLEAN_WEEKS + 2)]
    for number, otherwise in ((CLEAN_WEEKS - 1, before), (CLEAN_WEEKS, seen), (CLEAN_WEEKS + 1, after)):
        weeks[number] = replace(weeks[number], **(otherwise or {}))
    return Drilled("told", rehearsed, 0.5, SEED, tuple(weeks))


ASKED = {"cause": "skewed features", "action": "ask_a_person", "candidate": "refusal"}
ROLLED_BACK = {"cause": "bad release", "action": "roll_back"}
RETRAINED = {"cause": "feed restored", "action": "retrain"}
HELD = {"cause": "broken feed", "action": "hold", "candidate": "training_held"}

#   rehearsed           what the Mondays say                                                            right
VERDICTS = [
    (NOTHING, {}, True),
    (NOTHING, {"before": ASKED}, False),  # a false alarm
    (NOTHING, {"seen": ASKED}, False),
    (NOTHING, {"after": ROLLED_BACK}, False),
    (REHEARSALS["skewed_features"], {"seen": ASKED, "after": ASKED}, True),
    (REHEARSALS["skewed_features"], {}, False),  # not seen
    (REHEARSALS["skewed_features"], {"seen": ASKED}, False),  # lost again, though it lasts
    (REHEARSALS["skewed_features"], {"seen": {**ASKED, "candidate": "promotion"}, "after": ASKED}, False),
    (REHEARSALS["skewed_features"], {"seen": {**ASKED, "cause": "stale features"}, "after": ASKED}, False),
    (REHEARSALS["skewed_features"], {"seen": {**ASKED, "action": "retrain"}, "after": ASKED}, False),
    (REHEARSALS["broken_feed"], {"seen": HELD, "after": RETRAINED}, True),
    (REHEARSALS["broken_feed"], {"seen": {**HELD, "candidate": "promotion"}, "after": RETRAINED}, False),
    (REHEARSALS["broken_feed"], {"seen": HELD}, False),  # restored, and nobody noticed
    (REHEARSALS["bad_release"], {"seen": ROLLED_BACK}, True),
    (REHEARSALS["bad_release"], {"seen": {**ROLLED_BACK, "champion": "1"}}, False),  # said, and not done
    (REHEARSALS["bad_release"], {"seen": ROLLED_BACK, "after": ROLLED_BACK}, False),
    (REHEARSALS["catalogue_change"], {"seen": ROLLED_BACK}, False),
]


@pytest.mark.parametrize(("rehearsed", "mondays", "right"), VERDICTS)
def test_a_drill_is_right_only_if_every_monday_is(rehearsed: Rehearsal, mondays: dict[str, Any], right: bool) -> None:
    """Quiet before, the right cause and action when it is seen, what may follow after, and done what was said."""
    assert told(rehearsed, **mondays).right is right


def test_a_drill_keeps_to_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever rehearses where a live platform is configured overwrites none of its rows, and registers nothing with it."""
    monkeypatch.setenv("MLOPS_ONLINE_STORE", "redis")
    monkeypatch.setenv("MLOPS_TRACKING_URI", "http://registry:5000")
    settings = shop_workspace(tmp_path, SEED).settings
    assert settings.feast_online is None
    assert settings.mlflow_uri == f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the clean weeks are lived once, for all drills of this file."""
    return tmp_path_factory.mktemp("drills")


@pytest.fixture(scope="module")
def clean(place: Path) -> Drilled:
    return clean_run(SEED, place)


def workspace(drilled: Drilled, place: Path) -> Workspace:
    return Workspace(build_settings(place / f"{drilled.name}-{drilled.strength:g}-{SEED}"))


def decided(drilled: Drilled, place: Path) -> list[Decision]:
    """What was decided from the incident on."""
    since = drilled.weeks[CLEAN_WEEKS - 1].as_of.isoformat()
    return [d for d in workspace(drilled, place).decisions.read() if d.at >= since]


@pytest.mark.slow
def test_nothing_is_done_when_nothing_happens(clean: Drilled, place: Path) -> None:
    """Seven weeks without an incident: no cause is named that would be acted upon, and nobody is asked."""
    assert clean.right
    assert {week.action for week in clean.weeks} == {"hold"}
    assert {d.kind for d in decided(clean, place)} <= {"watch", "promotion", "refusal"}


@pytest.mark.slow
def test_skewed_features_are_named_and_move_no_version(clean: Drilled, place: Path) -> None:
    """A person is asked for as long as it lasts, the candidate beside it is refused, and customers lost by it."""
    drilled = drill("skewed_features", 0.5, SEED, place)
    assert said(drilled) == ("skewed features", "ask_a_person", "ask_a_person")
    assert drilled.right
    assert realised(drilled) < realised(clean)
    no_version_moved(drilled, place)


@pytest.mark.slow
def test_stale_features_are_named_and_move_no_version(clean: Drilled, place: Path) -> None:
    """Half of the customers are served as of a week earlier: a person is asked, and the candidate beside it is refused."""
    drilled = drill("stale_features", 0.5, SEED, place)
    assert said(drilled) == ("stale features", "ask_a_person", "ask_a_person")
    assert drilled.right
    assert realised(drilled) < realised(clean)
    no_version_moved(drilled, place)


@pytest.mark.slow
def test_a_catalogue_change_is_put_to_a_person(clean: Drilled, place: Path) -> None:
    """Best sellers are gone and no version knows what came: quality is lost, and nobody is blamed for it unasked."""
    drilled = drill("catalogue_change", 0.5, SEED, place)
    assert said(drilled)[:2] == ("quality lost, no better version", "ask_a_person")
    assert drilled.right
    assert realised(drilled) < 0.85 * realised(clean)
    [asked] = on_the_monday(drilled, place, "human_approval")
    assert (asked.actor, asked.action) == ("policy-default", "hold")


@pytest.mark.slow
def test_a_broken_feed_holds_training_until_it_is_mended(place: Path) -> None:
    """The delivery is quarantined whole, nothing is learned without it, and the right file asks for a new version."""
    drilled = drill("broken_feed", 0.5, SEED, place)
    assert said(drilled) == ("broken feed", "hold", "retrain")
    assert drilled.right
    assert drilled.seen.realised is None, "what was bought in a week that is quarantined cannot be known"
    delivered = workspace(drilled, place).lake.reports(drilled.seen.as_of)
    assert [report.status for report in delivered[-2:]] == ["accepted", "quarantined"]
    assert on_the_monday(drilled, place, "training_held")


@pytest.mark.slow
def test_a_bad_release_is_taken_back(clean: Drilled, place: Path) -> None:
    """What slipped through was live, is rolled back by the policy, and the registry's aliases have moved away from it."""
    drilled = drill("bad_release", 0.5, SEED, place)
    assert said(drilled) == ("bad release", "roll_back", "hold")
    assert drilled.right
    assert realised(drilled) < 0.5 * realised(clean)
    [slipped] = [d for d in decided(drilled, place) if d.actor == "person:drill"]
    [rollback] = on_the_monday(drilled, place, "rollback")
    assert (rollback.actor, rollback.previous_version) == ("policy", slipped.model_version)
    assert rollback.model_version == drilled.weeks[CLEAN_WEEKS - 1].champion
    aliases = MlflowRegistry(workspace(drilled, place).settings, RANKER).aliases()
    assert slipped.model_version not in (aliases.champion, aliases.previous)


def said(drilled: Drilled) -> tuple[str, str, str]:
    """The cause and the action of the Monday that must name it, and the action of the next."""
    return drilled.seen.cause, drilled.seen.action, drilled.weeks[-1].action


def realised(drilled: Drilled) -> float:
    """NDCG@10 of what customers were shown in the week of the incident."""
    assert drilled.seen.realised is not None
    return drilled.seen.realised


def on_the_monday(drilled: Drilled, place: Path, kind: str) -> list[Decision]:
    return [d for d in decided(drilled, place) if d.kind == kind and d.at == drilled.seen.as_of.isoformat()]


def no_version_moved(drilled: Drilled, place: Path) -> None:
    assert drilled.seen.champion == drilled.seen.questioned
    assert not {d.kind for d in decided(drilled, place)} & {"rollback", "retrain_request"}
    [refusal] = on_the_monday(drilled, place, "refusal")
    assert "train_serve_parity" in refusal.reason
