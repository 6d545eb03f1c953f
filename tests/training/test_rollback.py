"""A rollback takes a record and nothing else: the aliases follow when they can, and nothing bad comes back."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ingest.errors import RegistryError
from tests.training.histories import (
    MONDAY,
    Killed,
    KilledAfterRecord,
    aliases,
    begun_anew,
    decide,
    kinds,
    silent_registry,
    small_registry,
)
from training.carry_out import carry_out
from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases, aliases_after
from training.recommender.artefact import RANKER
from training.rollback import roll_back, roll_back_as_requested
from training.settings import build_settings
from training.vocabulary import Action, Decision, Evidence
from training.workspace import Workspace

NOON = MONDAY + timedelta(hours=12)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_registry(tmp_path_factory)


@pytest.fixture
def ws(home: Path) -> Workspace:
    """Version 1 is live, then 2, then 3."""
    ws = begun_anew(home)
    for version in "123":
        decide(ws, "promotion", version)
    return ws


@pytest.fixture
def cut_off(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same workspace with a tracking server where nobody listens, as the command line asks for it."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = build_settings(ws.home, tracking_uri="http://127.0.0.1:9")
    with pytest.raises(RegistryError):
        MlflowRegistry(settings, RANKER)  # once, because MLflow imports its client with the first request
    return Workspace(settings)


def test_a_rollback_does_not_wait_for_a_registry_that_is_down(ws: Workspace, cut_off: Workspace) -> None:
    """Within two seconds the record and the mark stand; carried out later, the aliases are moved and the mark is gone."""
    began = time.monotonic()
    decision = roll_back(cut_off, NOON, to=None, reason="complaints", actor="person:ann")
    assert time.monotonic() - began < 2
    assert (decision.model_version, decision.previous_version) == ("2", "3")
    assert cut_off.decisions.read()[-1] == decision
    assert cut_off.unreconciled.exists()
    assert aliases(ws) == Aliases(champion="3", previous="2")

    assert carry_out(ws)["recommender"] == Aliases(champion="2", previous="1")
    assert aliases(ws) == Aliases(champion="2", previous="1")
    assert not ws.unreconciled.exists()


def test_carrying_out_in_vain_leaves_the_mark(ws: Workspace) -> None:
    """Whoever tries too early is told, and the aliases are still owed."""
    with silent_registry(ws):
        roll_back(ws, NOON, to=None, reason="complaints", actor="person:ann")
        with pytest.raises(RegistryError):
            carry_out(ws)
    assert ws.unreconciled.exists()


def test_a_rollback_with_the_registry_up_leaves_no_mark(ws: Workspace) -> None:
    """What was carried out is not owed."""
    roll_back(ws, NOON, to=None, reason="complaints", actor="policy")
    assert aliases(ws).champion == "2"
    assert not ws.unreconciled.exists()


def test_a_process_killed_behind_the_record_leaves_the_mark(ws: Workspace) -> None:
    """Between record and aliases there is no moment in which nobody knows that they have to be moved."""
    ws.decisions = KilledAfterRecord(ws.decisions.path)
    with pytest.raises(Killed):
        roll_back(ws, NOON, to=None, reason="complaints", actor="policy")
    assert aliases_after(ws.decisions.read()).champion == "2"
    assert aliases(ws).champion == "3"
    assert ws.unreconciled.exists()


def test_a_rollback_ends_an_open_canary_and_the_champion_stays(ws: Workspace) -> None:
    """What is taken back is what was new: the canary, not the version that it was compared with."""
    decide(ws, "canary", "4")
    decision = roll_back(ws, NOON, to=None, reason="complaints", actor="person:ann")
    assert (decision.model_version, decision.previous_version) == ("3", "4")
    assert decision.subject == "recommender version 4"
    assert aliases(ws) == Aliases(champion="3", previous="2")


def test_a_version_that_is_named_replaces_the_champion_also_during_a_canary(ws: Workspace) -> None:
    """The record is about the champion, which is what was replaced; the canary lost its control and ends, too."""
    decide(ws, "canary", "4")
    decision = roll_back(ws, NOON, to="2", reason="complaints", actor="person:ann")
    assert (decision.subject, decision.previous_version) == ("recommender version 3", "3")
    assert aliases(ws) == Aliases(champion="2", previous="1")


def test_a_rollback_that_the_watch_asked_for_is_about_the_champion(ws: Workspace) -> None:
    """It questioned version 3: a canary that is under way meanwhile must not be what is taken back in its place."""
    decide(ws, "canary", "4")
    asked = Action("ask_a_person", "quality lost", "nothing better is known").to_dict()
    ws.once(MONDAY, "watch", lambda: {"action": asked, "champion": "3"})
    ws.once(MONDAY, "settle", lambda: {"answer": {"by": "person:ann"}, "outcome": "roll_back"})
    assert roll_back_as_requested(ws, MONDAY)["champion"] == "2"
    assert ws.decisions.read()[-1].previous_version == "3"


def test_rolled_back_twice_goes_further_back(ws: Workspace) -> None:
    """Never to and fro between two versions that were both taken back."""
    roll_back(ws, NOON, to=None, reason="complaints", actor="policy")
    roll_back(ws, NOON + timedelta(hours=1), to=None, reason="more of them", actor="policy")
    assert aliases(ws) == Aliases(champion="1")


def test_the_evidence_is_part_of_the_record(ws: Workspace) -> None:
    """Whoever asks later why finds the figures."""
    evidence = (Evidence("errors:canary", 0.2, "canary", n=50),)
    roll_back(ws, NOON, to="1", reason="errors", actor="policy", evidence=evidence)
    assert ws.decisions.read()[-1].evidence == evidence


#    what was decided before, the version asked for, and what the refusal says
REFUSED: list[tuple[tuple[str, ...], str | None, str]] = [
    ((), None, r"no previous version.*mlops status"),
    (("1",), None, r"no previous version.*mlops status"),
    (("1", "2"), "2", "Version 2 is live already"),
    (("1", "2"), "4", r"Version 4 was never promoted.*Versions that were live: 1, 2"),
    (("1", "2"), "99", "Version 99 was never promoted"),
]


@pytest.mark.parametrize(("promoted", "to", "reason"), REFUSED)
def test_a_rollback_that_leads_nowhere_is_refused(
    home: Path, promoted: tuple[str, ...], to: str | None, reason: str
) -> None:
    """Nothing is recorded, nothing is owed, and the message says why."""
    ws = begun_anew(home)
    for version in promoted:
        decide(ws, "promotion", version)
    with pytest.raises(RegistryError, match=reason):
        roll_back(ws, NOON, to=to, reason="I like it", actor="person:ann")
    assert kinds(ws) == [("promotion", version) for version in promoted]
    assert not ws.unreconciled.exists()


def test_a_canary_is_no_promotion(ws: Workspace) -> None:
    """A version that only ever was on canary cannot be rolled back to."""
    decide(ws, "canary", "4")
    with pytest.raises(RegistryError, match="Version 4 was never promoted"):
        roll_back(ws, NOON, to="4", reason="I like it", actor="person:ann")


def test_a_version_in_the_shadow_is_no_reason_to_keep_a_bad_champion(ws: Workspace) -> None:
    """What scores beside the champion answers nobody: going back means the version before."""
    decide(ws, "shadow", "4")
    decision = roll_back(ws, NOON, to=None, reason="complaints", actor="policy")
    assert (decision.model_version, decision.previous_version) == ("2", "3")
    assert aliases(ws) == Aliases(champion="2", previous="1")


def test_one_models_missing_version_keeps_no_other_model_where_it_is(ws: Workspace) -> None:
    """The aliases of each model move by themselves; that something is owed is told all the same."""
    lost = Decision(
        at=NOON.isoformat(), actor="policy", kind="promotion", subject="fraud version 99", action="promote", reason="r",
        model_version="99",
    )  # fmt: skip
    ws.decisions.record(lost)
    ws.decisions.record(replace(lost, subject="recommender version 4", model_version="4"))
    with pytest.raises(RegistryError, match="fraud"):
        carry_out(ws)
    assert aliases(ws) == Aliases(champion="4", previous="3")
