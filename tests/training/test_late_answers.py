"""A person's answer may come late, and a rollback in the middle of a week's judging: neither puts the wrong version live."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dags.logical_week import landed_and_watched
from ingest.errors import RegistryError
from monitoring.watch import settle_week
from tests.training.histories import begun_anew, decide, small_registry
from training.candidate_decision import candidate_decision
from training.mlflow_registry import MlflowRegistry
from training.recommender.artefact import RANKER
from training.rollback import roll_back, roll_back_as_requested
from training.settings import build_settings
from training.vocabulary import Action, GateResult, Verdict
from training.weekly import judge_candidate
from training.workspace import Workspace

MONDAY = datetime(2011, 2, 28)
ASKED = Action("ask_a_person", "quality lost", "nothing better is known").to_dict()


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_registry(tmp_path_factory)


@pytest.fixture
def ws(versions: Path) -> Workspace:
    """The same versions with an empty history: 1, then 2 promoted."""
    ws = begun_anew(versions)
    decide(ws, "promotion", "1", datetime(2011, 2, 14))
    decide(ws, "promotion", "2", datetime(2011, 2, 21))
    return ws


def leave(ws: Workspace, **parts: Mapping[str, Any]) -> None:
    """Let steps of the Monday have left these parts."""
    for step, part in parts.items():
        ws.once(MONDAY, step, lambda part=part: dict(part))


def test_the_version_in_question_is_taken_back(ws: Workspace) -> None:
    """A person who answers while the version is live gets what was asked for."""
    leave(ws, watch={"action": ASKED, "champion": "2"}, settle={"answer": {"by": "person:ann"}, "outcome": "roll_back"})
    assert roll_back_as_requested(ws, MONDAY)["champion"] == "1"
    last = ws.decisions.read()[-1]
    assert (last.kind, last.actor, last.previous_version) == ("rollback", "person:ann", "2")


def test_a_late_answer_moves_nothing(ws: Workspace) -> None:
    """The version that the question was about is gone: its successor is not rolled back, and the record says why."""
    leave(ws, watch={"action": ASKED, "champion": "2"}, settle={"answer": {"by": "person:ann"}, "outcome": "roll_back"})
    decide(ws, "promotion", "3", MONDAY)
    assert roll_back_as_requested(ws, MONDAY)["champion"] == "3"
    last = ws.decisions.read()[-1]
    assert (last.kind, last.actor) == ("hold", "person:ann")
    assert "about version 2; version 3 has replaced it" in last.reason
    assert MlflowRegistry(ws.settings, RANKER).aliases().champion == "3"


def test_going_back_from_the_first_version_is_a_hold(ws: Workspace) -> None:
    """The answers are the same every week, so a person may ask for what there is not; the week goes on all the same."""
    ws.decisions.path.unlink()
    decide(ws, "promotion", "1", datetime(2011, 2, 14))
    leave(ws, watch={"action": ASKED, "champion": "1"}, settle={"answer": {"by": "person:ann"}, "outcome": "roll_back"})
    assert roll_back_as_requested(ws, MONDAY)["champion"] == "1"
    last = ws.decisions.read()[-1]
    assert (last.kind, last.actor) == ("hold", "person:ann")
    assert "no version before 1" in last.reason


def test_a_rollback_is_no_way_around_the_gates(ws: Workspace) -> None:
    """Only what was promoted once can be put back: version 3 is registered and was never let through."""
    with pytest.raises(RegistryError, match="Version 3 was never promoted"):
        roll_back(ws, MONDAY, to="3", reason="I like it", actor="person:ann")
    assert MlflowRegistry(ws.settings, RANKER).aliases().champion == "2"
    assert roll_back(ws, MONDAY, to="1", reason="a complaint", actor="person:ann").model_version == "1"


@pytest.mark.parametrize(
    ("fitted", "outcome"),
    [(None, "retrain"), ({"candidate": {"version": "3"}}, "hold"), ({"candidate": None}, "hold")],
)
def test_retraining_is_requested_only_where_it_can_still_happen(
    ws: Workspace, fitted: dict[str, Any] | None, outcome: str
) -> None:
    """Each week is fitted once: an answer that comes after that changes nothing, and the record says so."""
    leave(ws, watch={"action": ASKED, "champion": "2"}, **({"fit": fitted} if fitted else {}))
    answer = {"chosen_options": ["retrain on verified data"], "responded_by_user": {"name": "ann"}}
    assert settle_week(ws, MONDAY, answer)["outcome"] == outcome
    last = ws.decisions.read()[-1]
    assert (last.kind, last.action, last.actor) == ("human_approval", outcome, "person:ann")
    assert ("has been fitted already" in last.reason) is (outcome == "hold")


def test_a_verdict_is_about_the_version_that_was_compared(ws: Workspace) -> None:
    """A rollback between evaluation and verdict must not be taken for the version that the evidence is about."""
    leave(ws, fit={"candidate": {"version": "3"}}, evaluate={"champion": "2", "evidence": {}})
    roll_back(ws, MONDAY, to=None, reason="a complaint", actor="person:ann")
    assert judge_candidate(ws, MONDAY)["champion"] == "2"


def test_a_candidate_is_not_promoted_over_a_version_it_was_not_judged_against(ws: Workspace) -> None:
    """A rollback between verdict and promotion makes the verdict worthless: the next week judges anew."""
    judged = Verdict.of((GateResult("beats_champion", True, "it does"),))
    leave(
        ws,
        snapshot={"snapshot": {"id": "s"}},
        fit={"candidate": {"version": "3", "run_id": "r"}, "held": None},
        judge={"champion": "2", "verdict": judged.to_dict()},
    )
    promotion = candidate_decision(ws, MONDAY)
    assert promotion.kind == "promotion"
    ws.decisions.record(promotion)
    assert candidate_decision(ws, MONDAY) == promotion, "a run that died after the record must decide the same again"

    ws.decisions.path.unlink()
    decide(ws, "promotion", "1", datetime(2011, 2, 14))
    refusal = candidate_decision(ws, MONDAY)
    assert refusal.kind == "refusal"
    assert "judged against version 2, but a rollback has put version 1 in its place" in refusal.reason


@pytest.mark.parametrize(
    ("parts", "may_go_on"),
    [
        ({}, False),
        ({"ingest": {}}, False),
        ({"ingest": {}, "watch": {"action": ASKED}}, True),
        ({"ingest": {}, "watch": {"action": {**ASKED, "name": "hold"}}}, False),
        ({"ingest": {}, "watch": {"action": {**ASKED, "name": "hold"}}, "settle": {"outcome": "hold"}}, True),
        ({"ingest": {}, "watch": {"action": ASKED}, "settle": {"outcome": "roll_back"}}, False),
        ({"ingest": {}, "watch": {"action": ASKED}, "settle": {"outcome": "roll_back"}, "rollback": {}}, True),
    ],
)
def test_a_week_is_learned_from_once_it_landed_and_was_watched(
    tmp_path: Path, parts: dict[str, dict[str, Any]], may_go_on: bool
) -> None:
    """Whatever the clock says: events first, then what the watch decided; only an open question holds nothing up."""
    home = Workspace(build_settings(tmp_path))
    leave(home, **parts)
    assert landed_and_watched(home, MONDAY) is may_go_on
